import { z } from "zod";

export const LEVELS = ["info", "warning", "error"] as const;
export const Level = z.enum(LEVELS);
export type Level = z.infer<typeof Level>;

/** One line of an object's journal: the event list, the SSE stream and the audit trail are all made of these. `seq` has no gaps. */
export const JournalEvent = z.object({
  id: z.string().describe("`<resource id>:<seq>`"),
  seq: z.int().positive(),
  resource_id: z.string(),
  timestamp: z.iso.datetime(),
  level: Level,
  component: z
    .string()
    .describe("Which part of the system observed or did it: api, scheduler, host, agent, health_checker, …"),
  reason: z.string().describe("A stable snake_case word"),
  message: z.string(),
  actor: z.string().describe("The token id of who asked, or the name of the component that acted by itself"),
  revision: z.int().nonnegative().describe("The resource's revision after this event"),
  old_status: z.string().optional(),
  new_status: z.string().optional(),
  data: z.record(z.string(), z.unknown()).optional(),
});
export type JournalEvent = z.infer<typeof JournalEvent>;

/** What a decision asks to be written; the shell adds seq, time, actor and revision. */
export type Entry = {
  level: Level;
  component:
    | "api"
    | "scheduler"
    | "host"
    | "agent"
    | "health_checker"
    | "autoscaler"
    | "webhook"
    | "gateway"
    | "builder"
    | "engine";
  reason: string;
  message: string;
  data?: Record<string, unknown>;
};

/** One mutation: who did what to which resource, and its revision before and after. Kept 90 days, longer than the resource may live. */
export const AuditEntry = z.object({
  id: z.string(),
  timestamp: z.iso.datetime(),
  actor: z.string(),
  action: z.string().describe("create, delete, cordon, rotate, …"),
  resource_kind: z.string(),
  resource_id: z.string(),
  resource_name: z.string(),
  namespace: z.string().nullable(),
  before_revision: z.int().nonnegative().nullable(),
  after_revision: z.int().nonnegative().nullable(),
  request_id: z.string().optional(),
});
export type AuditEntry = z.infer<typeof AuditEntry>;
