import { readFileSync } from "node:fs";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import type { Found } from "../../agent/driver.ts";
import { ProcessDriver, type ProcessOptions } from "../../agent/process/driver.ts";
import { names } from "../../agent/process/folder.ts";
import type { LogQuery } from "../../contract/frame.ts";
import type { LogLine, Observation, Workload, WorkloadSpec } from "../../contract/workload.ts";
import { eventually, workload } from "./workload.ts";

export type Started = {
  driver: ProcessDriver;
  found: Found[];
  seen: Observation[];
  last: (id: string) => Observation | undefined;
};

/** A started process driver, which is closed when the test is over; what runs then is removed. */
export async function startDriver(dataDir: string, options: Partial<ProcessOptions> = {}): Promise<Started> {
  const driver = new ProcessDriver({ dataDir, log: () => {}, ...options });
  const seen: Observation[] = [];
  const found = await driver.start((observation) => seen.push(observation));
  onTestFinished(async () => {
    for (const id of await names(join(dataDir, "process"))) if (id.startsWith("dep_")) await driver.forget(id);
    await driver.close();
  });
  return { driver, found, seen, last: (id) => seen.findLast((observation) => observation.id === id) };
}

export async function exitOf(started: Started, id: string) {
  await eventually(() => started.last(id)?.phase === "exited", `${id} has exited`);
  const seen = started.last(id);
  if (seen?.phase !== "exited") throw new Error("it has not exited");
  return seen.exit;
}

export async function linesOf(driver: ProcessDriver, id: string, over: Partial<LogQuery> = {}): Promise<LogLine[]> {
  const lines: LogLine[] = [];
  const query = { workload_id: id, generation: 1, tail: null, since: null, follow: false, ...over };
  for await (const batch of driver.logs(query, new AbortController().signal)) lines.push(...batch);
  return lines;
}

export const never = new AbortController().signal;

/** Brings a workload up, and takes it away after the test. */
export async function up(started: Started, spec: Partial<WorkloadSpec>, over: Partial<Workload> = {}) {
  const made = workload({ ...over, spec });
  const seen = await started.driver.apply(made, never);
  onTestFinished(async () => {
    await started.driver.remove(made.id, made.generation, 0);
    await started.driver.forget(made.id);
  });
  return { made, seen };
}

export const json = (path: string) => JSON.parse(readFileSync(path, "utf8"));
