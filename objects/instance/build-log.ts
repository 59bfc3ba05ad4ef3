import { instanceId, workloadId } from "../../contract/id.ts";
import { SLOT } from "../../contract/instance.ts";
import type { LogLine } from "../../contract/workload.ts";
import { remote } from "../remote.ts";
import type { InstanceRecord } from "./kept.ts";

/** What builds wrote. It is read from their hosts while they run, and kept here when they go from there. */

/** Of one build: so many of its newest lines, and so long each. */
const MOST_LINES = 1_000;
const LONGEST_LINE = 1_000;
/** A host that does not answer holds nothing up for longer, ms. */
const READ_WITHIN_MS = 5_000;

/** The builds whose job is to go from its host, and of which nothing is kept yet. */
export const leavingBuilds = (sql: SqlStorage, { state, builds }: InstanceRecord) =>
  builds.flatMap(({ id, generation }) => {
    const place = state.leaving.find((one) => one.slot === SLOT.build && one.generation === generation);
    return place === undefined || buildLog(sql, id) !== null ? [] : [{ id, ...place }];
  });

/** The lines of a build, as its host has them; null: it does not answer. */
export async function readBuildLog(
  instance: string,
  { host_id, slot, generation }: { host_id: string; slot: number; generation: number },
  env: Pick<Env, "HOST">,
): Promise<LogLine[] | null> {
  const workload_id = workloadId(instance, slot);
  const query = { workload_id, generation, tail: MOST_LINES, since: null, follow: false };
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
      // A log goes on over the generations of a workload; those of before were other builds.
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
  return isRead ? lines.slice(-MOST_LINES) : null;
}

const shortened = (line: LogLine): LogLine =>
  line.message.length > LONGEST_LINE ? { ...line, message: `${line.message.slice(0, LONGEST_LINE)}…` } : line;

/** Call it inside `commit`. */
export function keepBuildLog(sql: SqlStorage, buildId: string, lines: readonly LogLine[]): void {
  sql.exec("INSERT OR REPLACE INTO build_log VALUES (?, ?)", buildId, JSON.stringify(lines));
  sql.exec("DELETE FROM build_log WHERE build_id NOT IN (SELECT id FROM build)");
}

/** LogLine[], JSON; null: nothing is kept of it. */
export const buildLog = (sql: SqlStorage, buildId: string): string | null =>
  sql.exec<{ lines: string }>("SELECT lines FROM build_log WHERE build_id = ?", buildId).toArray()[0]?.lines ?? null;
