import { instanceId, workloadId } from "../../contract/id.ts";
import type { LogLine } from "../../contract/workload.ts";
import { remote } from "../remote.ts";

/** A line that is kept is so long at most. */
const LONGEST_LINE = 1_000;
/** A host that does not answer holds nothing up for longer, ms. */
const READ_WITHIN_MS = 5_000;

/** The newest lines of one generation of a program, as its host has them; null: it does not answer. */
export async function readHostLog(
  instance: string,
  { host_id, slot, generation }: { host_id: string; slot: number; generation: number },
  most: number,
  env: Pick<Env, "HOST">,
): Promise<LogLine[] | null> {
  const workload_id = workloadId(instance, slot);
  const query = { workload_id, generation, tail: most, since: null, follow: false };
  const own = instanceId(workload_id, generation);
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  const lines: LogLine[] = [];
  const read = async (): Promise<boolean> => {
    const reply = await remote(env.HOST, host_id).logs(query);
    if (!reply.ok) return false;
    reader = reply.value.getReader();
    const decoder = new TextDecoder();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return true;
      const parts = (rest + decoder.decode(value, { stream: true })).split("\n");
      rest = parts.pop() ?? "";
      // A log goes on over the generations of a workload; those of before were others.
      for (const part of parts)
        lines.push(...(JSON.parse(part) as LogLine[]).filter((line) => line.instance === own).map(shortened));
    }
  };
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), READ_WITHIN_MS);
  });
  const isRead = await Promise.race([read().catch(() => false), late]).finally(() => clearTimeout(timer));
  void reader?.cancel().catch(() => undefined);
  return isRead ? lines.slice(-most) : null;
}

const shortened = (line: LogLine): LogLine =>
  line.message.length > LONGEST_LINE ? { ...line, message: `${line.message.slice(0, LONGEST_LINE)}…` } : line;
