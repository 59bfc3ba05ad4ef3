import { z } from "zod";
import { AllowedActions } from "./action.ts";
import type { SourceAddress } from "./engine-task.ts";
import { SourceTest } from "./instance-report.ts";
import type { Violation } from "./problem.ts";
import { NAMESPACE_FIELD, type NameRule, nameViolations } from "./resource-name.ts";
import type { Sealed } from "./sealed.ts";
import { SOURCE_KINDS, SOURCE_PORT, SYNC_MODES, TLS_MODES } from "./source-kind.ts";

/** A connection: how instances reach a source. The password is sealed, and never answered. */

export const CONNECTION_NAME: NameRule = {
  least: 1,
  most: 100,
  form: /^[a-z0-9]([-a-z0-9_.]*[a-z0-9])?$/,
  expected: "lower-case letters, digits, `-`, `_` or `.`, starting and ending with a letter or digit",
};

const Host = z
  .string()
  .min(1)
  .max(255)
  .regex(/^[A-Za-z0-9.:_-]+$/, "expected a host name or an IP address");
const Port = z.int().min(1, "expected 1 to 65535").max(65535, "expected 1 to 65535");
const User = z.string().min(1).max(128);
const Password = z.string().max(4096).describe("Write-only: never answered");
const Database = z.string().min(1).max(128);
const Schemas = z.array(z.string().min(1).max(128)).min(1, "expected at least one").max(200);
const Ca = z
  .string()
  .max(65_536)
  .describe("Certificates in PEM that the certificate is checked against; otherwise the host's own roots");
const Modes = z.array(z.enum(SYNC_MODES)).min(1).max(SYNC_MODES.length);
const Interval = z.int().min(1).max(3600);

/** What is needed to reach a source, be it stored or not. */
const address = {
  kind: z.enum(SOURCE_KINDS).default("mysql").describe("`mysql` includes MariaDB"),
  host: Host,
  port: Port.nullish().describe("3306 for mysql and 5432 for postgres when left out"),
  user: User,
  password: Password,
  database: Database.nullable().default(null).describe("PostgreSQL: which one; `postgres` when left out"),
  tls: z.enum(TLS_MODES).default("require"),
  ca: Ca.nullable().default(null),
};

export const ConnectionCreate = z.strictObject({
  name: z.string(),
  namespace: z.string().default("default"),
  ...address,
  schemas: Schemas.describe("Those that instances may read"),
  database_id: z.string().max(64).nullable().default(null).describe("The managed database that this leads to"),
  allowed_sync_modes: Modes.default([...SYNC_MODES]),
  min_sync_interval: Interval.default(1).describe("Seconds; no instance takes a shorter one"),
});
export type ConnectionCreate = z.infer<typeof ConnectionCreate>;

export const ConnectionPatch = z.strictObject({
  host: Host.optional(),
  port: Port.optional(),
  user: User.optional(),
  password: Password.optional(),
  database: Database.nullable().optional(),
  tls: z.enum(TLS_MODES).optional(),
  ca: Ca.nullable().optional(),
  schemas: Schemas.optional(),
  allowed_sync_modes: Modes.optional(),
  min_sync_interval: Interval.optional(),
});
export type ConnectionPatch = z.infer<typeof ConnectionPatch>;

export const connectionViolations = ({ name, namespace }: ConnectionCreate): Violation[] => [
  ...nameViolations("connection", "name", name, CONNECTION_NAME),
  ...nameViolations("connection", "namespace", namespace, NAMESPACE_FIELD),
];

export const ConnectionSpec = z.object({
  kind: z.enum(SOURCE_KINDS),
  host: z.string(),
  port: z.int(),
  user: z.string(),
  database: z.string().nullable(),
  tls: z.enum(TLS_MODES),
  ca: z.string().nullable(),
  schemas: z.array(z.string()),
  allowed_sync_modes: z.array(z.enum(SYNC_MODES)),
  min_sync_interval: z.int(),
});
export type ConnectionSpec = z.infer<typeof ConnectionSpec>;

export function connectionSpec(body: ConnectionCreate): ConnectionSpec {
  const { kind, host, user, database, tls, ca, schemas, allowed_sync_modes, min_sync_interval } = body;
  const port = body.port ?? SOURCE_PORT[kind];
  return { kind, host, port, user, database, tls, ca, schemas, allowed_sync_modes, min_sync_interval };
}

/** A source as an instance's programs are given it. */
export type Source = { address: z.infer<typeof SourceAddress>; password: Sealed };

const time = z.iso.datetime();

export const CONNECTION_STATUSES = ["untested", "testing", "ok", "failing"] as const;
export const ConnectionStatus = z.enum(CONNECTION_STATUSES);
export type ConnectionStatus = z.infer<typeof ConnectionStatus>;

export const TestResult = SourceTest.extend({ host_id: z.string().nullable(), tested_at: time });
export type TestResult = z.infer<typeof TestResult>;

export const ConnectionView = z.object({
  id: z.string(),
  name: z.string(),
  namespace: z.string(),
  database_id: z.string().nullable(),
  kind: z.enum(SOURCE_KINDS),
  host: z.string(),
  port: z.int(),
  user: z.string(),
  database: z.string().nullable(),
  tls: z.enum(TLS_MODES),
  ca: z.string().nullable(),
  schemas: z.array(z.string()),
  allowed_sync_modes: z.array(z.string()),
  min_sync_interval: z.int(),
  status: ConnectionStatus.describe("What the last test came to"),
  message: z.string(),
  last_test: TestResult.nullable(),
  instances: z.array(z.string()).describe("Ids of the instances that read through it"),
  created_at: time,
  updated_at: time,
  revision: z.int(),
  allowedActions: AllowedActions,
  event_cursor: z.int(),
});
export type ConnectionView = z.infer<typeof ConnectionView>;
