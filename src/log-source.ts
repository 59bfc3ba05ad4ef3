import type { LogQuery } from "../contract/frame.ts";
import type { Reply } from "../contract/problem.ts";
import type { LogLine } from "../contract/workload.ts";
import type { HostObject } from "../objects/host/object.ts";
import { type Remote, remote } from "../objects/remote.ts";
import { call } from "./stub.ts";
import { HOST_ANSWERS_IN_MS, within } from "./within.ts";

/** An instance whose lines are wanted. `kept`: they are not on its host any more, and these (LogLine[], JSON) are what is left of them. */
export type Source = { instance_id: string; host_id: string; workload_id: string; generation: number; kept?: string };

/** The lines of one instance, in the portions in which its agent reads them. Throws when its host cannot be asked, or goes away in the middle. */
export async function* linesOf(
  env: Env,
  source: Source,
  query: Pick<LogQuery, "tail" | "since" | "follow">,
  signal: AbortSignal,
): AsyncGenerator<LogLine[]> {
  const { host_id, workload_id, generation, kept } = source;
  if (kept !== undefined) {
    const { tail, since } = query;
    const lines = (JSON.parse(kept) as LogLine[]).filter(
      ({ timestamp }) => since === null || Date.parse(timestamp) >= since,
    );
    yield tail === null ? lines : lines.slice(lines.length - Math.min(tail, lines.length));
    return;
  }
  const wanted = { workload_id, generation, ...query };
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  const stop = () => void reader?.cancel().catch(() => undefined);
  try {
    const ask = (host: Remote<HostObject>): Promise<Reply<ReadableStream<Uint8Array>>> => host.logs(wanted);
    const reply = await within(
      HOST_ANSWERS_IN_MS,
      call(() => remote(env.HOST, host_id), ask),
    );
    if (!reply.ok) throw new Error(reply.refusal.detail);
    reader = reply.value.getReader();
    signal.addEventListener("abort", stop);
    const decoder = new TextDecoder();
    let rest = "";
    while (!signal.aborted) {
      const { done, value } = await (query.follow ? reader.read() : within(HOST_ANSWERS_IN_MS, reader.read()));
      if (done) return;
      const parts = (rest + decoder.decode(value, { stream: true })).split("\n");
      rest = parts.pop() ?? "";
      for (const part of parts) yield JSON.parse(part) as LogLine[];
    }
  } finally {
    signal.removeEventListener("abort", stop);
    stop();
  }
}

/** What stands in place of the lines of an instance that could not be read. */
export const unavailable = ({ instance_id, host_id }: Source, error: unknown): LogLine => ({
  instance: instance_id,
  stream: "stderr",
  level: "warning",
  timestamp: new Date().toISOString(),
  message: `[lamplighter] the logs of this instance could not be read from ${host_id}: ${error instanceof Error ? error.message : String(error)}`,
});
