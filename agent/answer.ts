import type { Question } from "../contract/frame.ts";
import type { LogLine, Runtime } from "../contract/workload.ts";
import type { Driver } from "./driver.ts";
import type { Emit } from "./link/conversation.ts";
import { ownMachine } from "./machine.ts";
import { checkKeepers } from "./postgres/keeper-check.ts";

const CHUNK_LINES = 500;
const CHUNK_BYTES = 512 * 1024;

export type Knowledge = {
  runtimeOf: (id: string) => Runtime | null;
  driver: (runtime: Runtime) => Driver | "waiting" | "disabled";
};

/** Answers a question of the control plane in chunks, then an end, whatever happens; nothing after the signal has aborted but the end. */
export async function answer(
  op: string,
  question: Question,
  emit: Emit,
  abort: AbortSignal,
  knowledge: Knowledge,
): Promise<void> {
  try {
    switch (question.verb) {
      case "logs": {
        const { query } = question;
        for await (const lines of driverOf(query.workload_id, knowledge).logs(query, abort)) {
          for (const data of inChunks(lines)) await emit({ kind: "chunk", op, data });
        }
        break;
      }
      case "stats": {
        const byDriver = new Map<Driver, string[]>();
        for (const id of question.workload_ids) {
          const runtime = knowledge.runtimeOf(id);
          const driver = runtime === null ? "disabled" : knowledge.driver(runtime);
          if (typeof driver !== "string") byDriver.set(driver, [...(byDriver.get(driver) ?? []), id]);
        }
        const stats = await Promise.all([...byDriver].map(([driver, ids]) => driver.stats(ids)));
        await emit({ kind: "chunk", op, data: stats.flat() });
        break;
      }
      case "node":
        await emit({ kind: "chunk", op, data: ownMachine() });
        break;
      case "check_keepers":
        await emit({ kind: "chunk", op, data: await checkKeepers(question.keepers) });
        break;
      case "exec": {
        const { workload_id: id, generation, command, timeout_ms: timeoutMs } = question;
        await emit({ kind: "chunk", op, data: await driverOf(id, knowledge).exec(id, generation, command, timeoutMs) });
        break;
      }
      case "stop_unused": {
        const { workload_id: id, generation } = question;
        const driver = driverOf(id, knowledge);
        if (driver.stopUnused === undefined) throw new Unanswerable("not_found", `${id} is no writer of a database.`);
        await emit({ kind: "chunk", op, data: { clients: await driver.stopUnused(id, generation) } });
        break;
      }
      case "install_verifier": {
        const { workload_id: id, generation, credential, verifier } = question;
        const driver = driverOf(id, knowledge);
        if (driver.install === undefined) throw new Unanswerable("not_found", `${id} is no writer of a database.`);
        await driver.install(id, generation, credential, verifier);
        await emit({ kind: "chunk", op, data: { installed: credential } });
        break;
      }
      case "set_reader": {
        const { workload_id: id, generation, reader } = question;
        const driver = driverOf(id, knowledge);
        if (driver.setReader === undefined) throw new Unanswerable("not_found", `${id} is no writer of a database.`);
        await driver.setReader(id, generation, reader);
        await emit({ kind: "chunk", op, data: { reader: reader?.credential ?? null } });
        break;
      }
    }
    await emit({ kind: "end", op, error: null });
  } catch (error) {
    const known = error instanceof Unanswerable ? error.code : "failed";
    await emit({
      kind: "end",
      op,
      error: { code: known, message: error instanceof Error ? error.message : String(error) },
    });
  }
}

class Unanswerable extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

function driverOf(id: string, { runtimeOf, driver }: Knowledge): Driver {
  const runtime = runtimeOf(id);
  if (runtime === null) throw new Unanswerable("not_found", `Nothing of ${id} is on this host.`);
  const found = driver(runtime);
  if (typeof found === "string")
    throw new Unanswerable("runtime_unavailable", `The ${runtime} runtime of this host does not answer.`);
  return found;
}

function* inChunks(lines: readonly LogLine[]): Generator<LogLine[]> {
  let chunk: LogLine[] = [];
  let bytes = 0;
  for (const line of lines) {
    chunk.push(line);
    bytes += line.message.length + 160;
    if (chunk.length < CHUNK_LINES && bytes < CHUNK_BYTES) continue;
    yield chunk;
    chunk = [];
    bytes = 0;
  }
  if (chunk.length > 0) yield chunk;
}
