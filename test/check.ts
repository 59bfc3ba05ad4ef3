// `npm run check`: what CI holds every change to. `-- --no-tests` leaves the tests to another command.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { refreshBindings } from "./bindings.ts";

process.chdir(join(import.meta.dirname, ".."));

const steps: [name: string, passes: () => boolean][] = [
  ["binding types", refreshBindings],
  ["types of the Worker and its objects", () => runs("tsc", "-p", "tsconfig.worker.json")],
  ["types of the Node programs", () => runs("tsc", "-p", "tsconfig.node.json")],
  ["format and lint", () => runs("biome", "ci", "--error-on-warnings")],
  ["docs/openapi.json is up to date", specIsCurrent],
];
if (!process.argv.includes("--no-tests")) steps.push(["tests", () => runs("node", "test/run.ts")]);

const failed = steps.filter(([name, passes]) => {
  const started = performance.now();
  const passed = passes();
  console.log(`${passed ? "ok    " : "FAILED"} ${name} (${((performance.now() - started) / 1000).toFixed(1)} s)`);
  return !passed;
});
if (failed.length > 0) {
  console.log(`\n${failed.length} of ${steps.length} checks failed: ${failed.map(([name]) => name).join("; ")}`);
  process.exitCode = 1;
}

function runs(command: string, ...args: string[]): boolean {
  return spawnSync(command, args, { stdio: "inherit" }).status === 0;
}

function specIsCurrent(): boolean {
  const read = () => readFileSync("docs/openapi.json", "utf8");
  try {
    const before = read();
    if (!runs("node", "src/openapi.ts")) return false;
    if (read() === before) return true;
    console.log("docs/openapi.json did not match the schemas; it has been written anew: commit it");
  } catch (error) {
    console.log(String(error));
  }
  return false;
}
