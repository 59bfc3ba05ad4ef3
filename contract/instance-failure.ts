import { z } from "zod";

/**
 * What can go wrong with an instance or the test of a connection, by category. `retryable`: the same may go well later, with nothing changed.
 */
export const FAILURES = {
  network: {
    retryable: true,
    codes: ["dns_failed", "connect_timeout", "connect_refused", "tls_failed"],
  },
  auth: { retryable: false, codes: ["auth_failed", "host_not_allowed", "account_locked"] },
  scope: { retryable: false, codes: ["schema_missing", "schema_denied", "select_denied"] },
  replication: {
    retryable: false,
    codes: [
      "binlog_off",
      "binlog_format",
      "row_image",
      "repl_grant_missing",
      "server_id_conflict",
      "wal_level",
      "publication_missing",
      "slot_limit",
    ],
  },
  capacity: { retryable: true, codes: ["too_many_connections", "size_exceeds_instance", "no_capacity"] },
  build: {
    retryable: false,
    codes: [
      "introspection_failed",
      "config_invalid",
      "unsupported_type",
      "compile_failed",
      "artifact_too_large",
      "queue_timeout",
      "build_timeout",
      "build_cancelled",
      "builder_died",
    ],
  },
  deploy: {
    retryable: false,
    codes: ["image_missing", "oom", "health_timeout", "initial_load_failed", "verification_failed", "engine_died"],
  },
  runtime: {
    retryable: true,
    codes: ["stream_disconnected", "log_purged", "schema_drift", "pause_timeout"],
  },
  other: { retryable: false, codes: ["secret_unreadable", "left_at_source", "other"] },
} as const satisfies Record<string, { retryable: boolean; codes: readonly string[] }>;

export type FailureCategory = keyof typeof FAILURES;
export const FAILURE_CATEGORIES = Object.keys(FAILURES) as [FailureCategory, ...FailureCategory[]];

/** Words that an engine of another version may say are kept as they are, in the category `other`. */
export const categoryOf = (code: string): FailureCategory =>
  FAILURE_CATEGORIES.find((category) => (FAILURES[category].codes as readonly string[]).includes(code)) ?? "other";

export const InstanceFailure = z.object({
  code: z.string(),
  category: z.enum(FAILURE_CATEGORIES),
  message: z.string(),
  retryable: z.boolean(),
  at: z.int(),
});
export type InstanceFailure = z.infer<typeof InstanceFailure>;

export function failureOf(code: string, message: string, at: number): InstanceFailure {
  const category = categoryOf(code);
  return { code, category, message, retryable: FAILURES[category].retryable, at };
}
