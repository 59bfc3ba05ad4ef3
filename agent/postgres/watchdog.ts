import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { compiledModules } from "../compiled-modules.ts";
import { isAlive, Pid, signal, startOf } from "../process/pid.ts";
import { Leases } from "./lease.ts";

// A process of its own, one for all writers of a host, so that a writer's lease ends also when the agent is dead or stuck. Run as a program it
// is that process; the agent starts it with `keepWatch` and needs no answer of it.

const LOOK_EVERY_MS = 250;

/** Makes sure that a watchdog looks after the leases of this folder. */
export async function keepWatch(root: string): Promise<void> {
  await mkdir(root, { recursive: true });
  const path = join(root, "watchdog.json");
  const watchdog = await watchdogOf(root);
  if (watchdog && (await isAlive(watchdog))) return;
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), root], {
    detached: true,
    stdio: "ignore",
    cwd: "/",
    env: { PATH: process.env.PATH, ...compiledModules() },
  });
  child.unref();
  if (child.pid === undefined) throw new Error("the watchdog of the writers cannot be started");
  await writeFile(path, JSON.stringify({ pid: child.pid, start: (await startOf(child.pid)) ?? "" }), { mode: 0o600 });
}

export async function watchdogOf(root: string): Promise<Pid | null> {
  const known = await readFile(join(root, "watchdog.json"), "utf8").catch(() => "null");
  return Pid.nullable().catch(null).parse(JSON.parse(known));
}

/** Ends the watchdog when there is nothing to look after. */
export async function endWatch(root: string): Promise<void> {
  if ((await new Leases(root).all()).length > 0) return;
  const watchdog = await watchdogOf(root);
  if (watchdog && (await isAlive(watchdog))) signal(watchdog.pid, "SIGTERM");
}

/** Nobody needs it without leases; whoever grants one calls `keepWatch` first. */
async function watch(root: string): Promise<void> {
  const leases = new Leases(root);
  const linger = 60_000 / LOOK_EVERY_MS;
  for (let idle = 0; idle < linger; ) {
    await leases.enforce().catch(() => {});
    if (!existsSync(root)) return;
    idle = (await leases.all().catch(() => [null])).length === 0 ? idle + 1 : 0;
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await watch(process.argv[2] ?? "");
