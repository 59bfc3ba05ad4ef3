// `npm test`: every test project, what was left out and why, and the counts as the last line.
// Arguments go to vitest: npm test -- --project agent, npm test -- test/api/tokens.test.ts, npm test -- -t "a name".
import { spawn, spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { quietWrangler, refreshBindings } from "./bindings.ts";
import { SHARE } from "./rounds.ts";
import type { Tally } from "./tally.ts";

process.chdir(join(import.meta.dirname, ".."));
// The temporary folder of all tests, so that nothing of them is left when they are over; a short name, for there are sockets in it.
const scratch = mkdtempSync(join(tmpdir(), "lamp-"));
chmodSync(scratch, 0o1777);
const tallyFile = join(scratch, "tally.json");
const leftOutFile = join(scratch, "left-out");
const compiled = join(scratch, "compiled");
const OWN = ["tally.json", "left-out", "compiled", "node-compile-cache", "lamplighter-test-ports"];
/** Podman leaves what it loads an image from. */
const PODMANS = /^api_load\.tar\d+$/;
const strict = process.env.LAMPLIGHTER_NO_SKIPS === "1";
const KEPT = process.env.LAMPLIGHTER_KEEP === "1";

refreshBindings();
compilePrograms();
const code = await vitest(process.argv.slice(2));
const tally = JSON.parse(read(tallyFile) || '{"passed":0,"failed":0,"skipped":0,"skippedIn":{}}') as Tally;
const leftOut = [...new Set(read(leftOutFile).split("\n").filter(Boolean))];
const left = readdirSync(scratch).filter((name) => !OWN.includes(name) && !PODMANS.test(name));
if (!KEPT) rmSync(scratch, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });

if (left.length > 0) console.log(`\nLeft behind by tests${KEPT ? "" : ", and removed"}: ${left.join(", ")}`);
if (leftOut.length > 0 || tally.skipped > 0) {
  console.log("\nLeft out on this machine:");
  for (const line of leftOut) console.log(`  ${line}`);
  for (const [file, count] of Object.entries(tally.skippedIn)) console.log(`  ${count} skipped in ${file}`);
}
if (strict && tally.skipped > 0) console.log("LAMPLIGHTER_NO_SKIPS=1: a skipped test is a failure.");
if (SHARE < 1)
  console.log(
    "\nOf rounds of faults, and of random queries and writes, a part was run; LAMPLIGHTER_CHAOS_ROUNDS=50 is all of them.",
  );
if (code !== 0 && tally.failed === 0) tally.failed = 1;
console.log(`\n${tally.passed} passed, ${tally.failed} failed, ${tally.skipped} skipped`);
process.exitCode = tally.failed > 0 || (strict && tally.skipped > 0) ? 1 : 0;

/**
 * Agents, keepers and gateways are started hundreds of times. With their modules compiled they need a third of the processor time for it; one that is
 * killed would not keep what it has compiled.
 */
function compilePrograms(): void {
  // Some run as another user, whose part of it is another.
  mkdirSync(compiled);
  chmodSync(compiled, 0o1777);
  const programs = ["agent", "keeper", "gateway"].map((name) => `import("./${name}/main.ts")`);
  const script = `await Promise.all([${programs}]); process.exit(0)`;
  const env = { ...process.env, NODE_COMPILE_CACHE: compiled };
  spawnSync(process.execPath, ["--input-type=module", "--eval", script], { env, stdio: "ignore" });
}

function vitest(args: string[]): Promise<number> {
  const reporters = ["--reporter=default", "--reporter=./test/tally.ts"];
  const env = {
    ...quietWrangler(),
    LAMPLIGHTER_TALLY: tallyFile,
    LAMPLIGHTER_LEFT_OUT: leftOutFile,
    TMPDIR: scratch,
    NODE_COMPILE_CACHE: compiled,
  };
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
