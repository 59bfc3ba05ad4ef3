// `npm test`: every test project, what was left out and why, and the counts as the last line.
// Arguments go to vitest: npm test -- --project agent, npm test -- test/api/tokens.test.ts, npm test -- -t "a name".
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { quietWrangler, refreshBindings } from "./bindings.ts";
import type { Tally } from "./tally.ts";

process.chdir(join(import.meta.dirname, ".."));
const scratch = mkdtempSync(join(tmpdir(), "lamplighter-test-"));
const tallyFile = join(scratch, "tally.json");
const leftOutFile = join(scratch, "left-out");
const strict = process.env.LAMPLIGHTER_NO_SKIPS === "1";

refreshBindings();
const code = await vitest(process.argv.slice(2));
const tally = JSON.parse(read(tallyFile) || '{"passed":0,"failed":0,"skipped":0,"skippedIn":{}}') as Tally;
const leftOut = [...new Set(read(leftOutFile).split("\n").filter(Boolean))];
rmSync(scratch, { recursive: true, force: true });

if (leftOut.length > 0 || tally.skipped > 0) {
  console.log("\nLeft out on this machine:");
  for (const line of leftOut) console.log(`  ${line}`);
  for (const [file, count] of Object.entries(tally.skippedIn)) console.log(`  ${count} skipped in ${file}`);
}
if (strict && tally.skipped > 0) console.log("LAMPLIGHTER_NO_SKIPS=1: a skipped test is a failure.");
if (code !== 0 && tally.failed === 0) tally.failed = 1;
console.log(`\n${tally.passed} passed, ${tally.failed} failed, ${tally.skipped} skipped`);
process.exitCode = tally.failed > 0 || (strict && tally.skipped > 0) ? 1 : 0;

function vitest(args: string[]): Promise<number> {
  const reporters = ["--reporter=default", "--reporter=./test/tally.ts"];
  const env = { ...quietWrangler(), LAMPLIGHTER_TALLY: tallyFile, LAMPLIGHTER_LEFT_OUT: leftOutFile };
  const child = spawn("vitest", ["run", ...reporters, ...args], { stdio: "inherit", env });
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => child.kill(signal));
  return new Promise((done) => {
    child.on("error", (error) => {
      console.error(`cannot start vitest: ${error.message}; use npm test`);
      done(1);
    });
    child.on("exit", (status) => done(status ?? 1));
  });
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
