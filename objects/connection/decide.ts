import { z } from "zod";
import { TestResult } from "../../contract/connection.ts";
import type { Entry } from "../../contract/event.ts";
import type { SourceTest } from "../../contract/instance-report.ts";
import { timestamp } from "../../contract/timestamp.ts";
import { type Candidate, choose } from "../deployment/placement.ts";

/** The test of a connection, from a host. Pure: time comes in with the event. One test at a time; its generation tells it from those before. */

export const ConnectionState = z.object({
  generation: z.int().nonnegative(),
  test: z
    .object({
      /** Null while a host is looked for. */
      host_id: z.string().nullable(),
      /** The host has taken it. */
      taken: z.boolean(),
      refused: z.record(z.string(), z.string()),
      message: z.string(),
      due_at: z.int(),
    })
    .nullable(),
  last_test: TestResult.nullable(),
  /** What of former tests must go from hosts. */
  leaving: z.array(z.object({ generation: z.int(), host_id: z.string() })),
});
export type ConnectionState = z.infer<typeof ConnectionState>;

export const NEVER_TESTED: ConnectionState = { generation: 0, test: null, last_test: null, leaving: [] };

export type ConnectionEvent =
  /** `within_ms`: its deadline, when it is not the usual one. */
  | { type: "test"; within_ms?: number }
  | { type: "hosts"; hosts: readonly Candidate[] }
  | { type: "answered"; generation: number; host_id: string; accepted: boolean; message: string }
  | { type: "unresolved"; code: string; message: string }
  | { type: "reported"; generation: number; test: SourceTest }
  /** It ended on its host, or its host is gone. */
  | { type: "ended"; generation: number; message: string }
  | { type: "gone"; generation: number; host_id: string }
  | { type: "due" };

export const TEST_DEADLINE_MS = 60_000;
const TEST_MEMORY = 128 * 1024 ** 2;

export type ConnectionDecision = { state: ConnectionState; entries: Entry[] };

/** What comes of an event. A late, repeated or stale one leaves everything as it is. */
export function decide(state: ConnectionState, event: ConnectionEvent, now: number): ConnectionDecision {
  const same: ConnectionDecision = { state, entries: [] };
  const become = (next: Partial<ConnectionState>): ConnectionDecision => ({
    state: { ...state, ...next },
    entries: [],
  });
  const { generation } = state;
  // What is of a former test is not of this one.
  const test = "generation" in event && event.generation !== generation ? null : state.test;
  switch (event.type) {
    case "gone": {
      const isIt = (one: { generation: number; host_id: string }) =>
        one.generation === event.generation && one.host_id === event.host_id;
      return become({ leaving: state.leaving.filter((one) => !isIt(one)) });
    }
    case "test": {
      const due_at = now + (event.within_ms ?? TEST_DEADLINE_MS);
      const begun = { host_id: null, taken: false, refused: {}, message: "", due_at };
      return test === null ? become({ generation: generation + 1, test: begun }) : same;
    }
    case "hosts": {
      if (test === null || test.host_id !== null) return same;
      const need = { runtime: "process" as const, labels: {}, memory_bytes: TEST_MEMORY, cpu_millis: 0 };
      const choice = choose(event.hosts, need, new Map(), test.refused);
      return choice.type === "chosen"
        ? become({ test: { ...test, host_id: choice.host_id } })
        : over(state, failed("no_capacity", choice.message), now);
    }
    case "answered": {
      if (test === null || test.host_id !== event.host_id || test.taken) return same;
      if (event.accepted) return become({ test: { ...test, taken: true } });
      return become({ test: { ...test, host_id: null, refused: { ...test.refused, [event.host_id]: event.message } } });
    }
    case "unresolved":
      return test === null ? same : over(state, failed(event.code, event.message), now);
    case "reported":
      return test === null ? same : over(state, event.test, now);
    case "ended":
      return test === null ? same : over(state, failed("other", event.message), now);
    case "due":
      if (test === null || test.due_at > now) return same;
      return over(state, failed("connect_timeout", "the test took too long"), now);
  }
}

function over(state: ConnectionState, test: SourceTest, now: number): ConnectionDecision {
  const host_id = state.test?.host_id ?? null;
  const leaving = host_id === null ? state.leaving : [...state.leaving, { generation: state.generation, host_id }];
  const last_test = { ...test, host_id, tested_at: timestamp(now) };
  const message = test.ok ? "the source answers" : (test.error?.message ?? "the source cannot be read");
  const entry: Entry = {
    level: test.ok ? "info" : "warning",
    component: "engine",
    reason: test.ok ? "test_passed" : "test_failed",
    message,
    data: { code: test.error?.code ?? null, findings: test.findings.map(({ code }) => code) },
  };
  return { state: { ...state, test: null, last_test, leaving }, entries: [entry] };
}

const failed = (code: string, message: string): SourceTest => ({
  ok: false,
  error: { code, message },
  server_version: null,
  latency_ms: null,
  estimated_bytes: null,
  schemas: [],
  replication: { mode: "poll", ready: false },
  findings: [],
});
