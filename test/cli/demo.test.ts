import { spawn } from "node:child_process";
import { existsSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { processes } from "../../cli/up/process-table.ts";

function demo() {
  const main = join(import.meta.dirname, "../../cli/main.ts");
  const child = spawn(process.execPath, [main, "demo"], { stdio: ["ignore", "pipe", "pipe"] });
  const ended = new Promise<number | null>((done) => child.on("close", done));
  let said = "";
  child.stdout.setEncoding("utf8").on("data", (part: string) => {
    said += part;
  });
  const reached = async (step: string) => {
    while (!said.includes(`✓ ${step}`) && child.exitCode === null) await sleep(10);
  };
  const out = ended.then(() => said);
  return { child, ended, reached, out, err: text(child.stderr) };
}

const folderIn = (out: string) => /in (\/\S+lamplighter-demo-\w+)/.exec(out)?.[1] as string;

function worksIn(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return "";
  }
}

function expectNothingLeft(folder: string): void {
  expect(existsSync(folder)).toBe(false);
  expect(processes().filter(({ pid, command }) => command.includes(folder) || worksIn(pid).startsWith(folder))).toEqual(
    [],
  );
}

/** Most of it is waited for: twenty programs start one after the other, and a database must be idle for five seconds, twice. */
const WITHIN_MS = 150_000;

test("the demo holds, in plain lines, and leaves nothing", { timeout: WITHIN_MS }, async () => {
  const { ended, out, err } = demo();
  expect([await ended, await err]).toEqual([0, ""]);
  const said = await out;
  expect(said.match(/^✓ /gm)).toHaveLength(26);
  expect(said).toMatch(/^Everything held\. /m);
  expect(said).not.toContain("\u001b");
  expectNothingLeft(folderIn(said));
});

test.each(["The control plane starts", "PostgreSQL is killed", "An instance is registered"])(
  "Ctrl-C after “%s” puts everything away",
  { timeout: WITHIN_MS },
  async (step) => {
    const { child, ended, reached, out, err } = demo();
    await reached(step);
    await sleep(700);
    child.kill("SIGINT");
    expect([await ended, await err]).toEqual([130, "Interrupted. The demo has put everything away.\n"]);
    expectNothingLeft(folderIn(await out));
  },
);
