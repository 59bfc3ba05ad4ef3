import { z } from "zod";
import { Note, type Observation } from "../../contract/workload.ts";
import { WriterOrder } from "../../contract/writer.ts";
import { WriterStart } from "../../contract/writer-task.ts";

/** What is kept beside a database's data folder while its writer runs, so that another agent can take it up. */
export const KeptWriter = z.object({
  id: z.string(),
  generation: z.int().positive(),
  owner: z.string(),
  order: WriterOrder.extend({ listen: z.object({ host: z.string(), port: z.int() }) }),
  started_at: z.int(),
  start: WriterStart,
  /** What was last told of its troubles, and when. */
  noted: z.object({ at: z.int(), notes: z.array(Note) }).optional(),
});
export type KeptWriter = z.infer<typeof KeptWriter>;

/** It runs, as it was last told. */
export function running({ id, generation, order, started_at, start, noted }: KeptWriter): Observation {
  const { host, port } = order.listen;
  const address = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  const head = { id, generation, at: noted?.at ?? started_at, phase: "running" as const };
  return { ...head, started_at, address, image_digest: null, notes: noted?.notes ?? [], start };
}

/** It has ended now. */
export function exited({ id, generation }: KeptWriter, code: number | null = null, oom = false): Observation {
  const at = Date.now();
  const exit = { code, signal: null, oom, at, evidence: "lost" as const };
  return { id, generation, at, phase: "exited", exit };
}
