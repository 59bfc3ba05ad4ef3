import { z } from "zod";
import { Route } from "../../contract/route.ts";

/** What an agent and its proxy say to each other: JSON texts, one a line, over a socket in the agent's folder. */

export const InstanceRoute = Route.extend({
  instance_id: z.string(),
  /** Of its keys; null: none opens. */
  key_secret: z.string().nullable(),
});
export type InstanceRoute = z.infer<typeof InstanceRoute>;

const seq = z.int().positive();

export const ToProxy = z.discriminatedUnion("kind", [
  /** All routes; what is not among them is none any more. Answered `done` when it holds. */
  z.object({ kind: z.literal("routes"), seq, routes: z.array(InstanceRoute) }),
  /** This engine is to be stopped: it gets nothing more. `done` when it has answered what it had, or when the time is over. */
  z.object({
    kind: z.literal("drain"),
    seq,
    workload_id: z.string(),
    generation: z.int().positive(),
    within_ms: z.int().nonnegative(),
  }),
  /** No new connections; it ends when the present ones are answered, or when the time is over. */
  z.object({ kind: z.literal("end"), within_ms: z.int().nonnegative() }),
]);
export type ToProxy = z.infer<typeof ToProxy>;

export const FromProxy = z.discriminatedUnion("kind", [
  /** It listens. */
  z.object({ kind: z.literal("hello") }),
  z.object({ kind: z.literal("done"), seq }),
  /** Somebody with a key asks, now and then while that is so; `waits`: it is paused because nobody asked, and somebody waits for it. */
  z.object({ kind: z.literal("asked"), instance_id: z.string(), waits: z.boolean() }),
]);
export type FromProxy = z.infer<typeof FromProxy>;
