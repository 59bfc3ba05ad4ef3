// Brings worker-configuration.d.ts (the types of the Worker's bindings and of workerd itself) up to date.
import { spawnSync } from "node:child_process";
import { statSync } from "node:fs";

const output = "worker-configuration.d.ts";

/** Takes 2.5 s when there is something to do, so it is skipped while its inputs are older than its output. */
export function refreshBindings(): boolean {
  // The entry is an input because the stubs of the objects take their types from the classes that it exports.
  const inputs = ["wrangler.toml", "package-lock.json", "src/worker.ts"];
  if (inputs.every((input) => changedAt(input) <= changedAt(output))) return true;
  const run = spawnSync("wrangler", ["types"], { encoding: "utf8", env: quietWrangler() });
  if (run.status === 0) return true;
  process.stderr.write(`wrangler types failed:\n${run.stdout}${run.stderr}${run.error ?? ""}\n`);
  return false;
}

/** Wrangler asks its maker's servers for nothing in tests. */
export function quietWrangler(): NodeJS.ProcessEnv {
  return { WRANGLER_SEND_METRICS: "false", CLOUDFLARE_CF_FETCH_ENABLED: "false", ...process.env };
}

function changedAt(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}
