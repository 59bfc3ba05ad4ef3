import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { processes } from "../../cli/up/process-table.ts";

function demo() {
  const main = join(import.meta.dirname, "../../cli/main.ts");
  const child = spawn(process.execPath, [main, "demo"], { stdio: ["ignore", "pipe", "pipe"] });
  const ended = new Promise<number | null>((done) => child.on("close", done));
  const begun = Promise.withResolvers<void>();
  let said = "";
  child.stdout.setEncoding("utf8").on("data", (part: string) => {
    said += part;
    if (said.includes("✓")) begun.resolve();
  });
  const out = ended.then(() => said);
  return { child, ended, begun: begun.promise, out, err: text(child.stderr) };
}

const folderIn = (out: string) => /in (\/\S+lamplighter-demo-\w+)/.exec(out)?.[1] as string;

function expectNothingLeft(folder: string): void {
  expect(existsSync(folder)).toBe(false);
  expect(processes().filter(({ command }) => command.includes(folder))).toEqual([]);
}

test("the demo holds, in plain lines, and leaves nothing", async () => {
  const { ended, out, err } = demo();
  expect([await ended, await err]).toEqual([0, ""]);
  const said = await out;
  expect(said.match(/^✓ /gm)).toHaveLength(12);
  expect(said).toMatch(/^Everything held\. /m);
  expect(said).not.toContain("\u001b");
  expectNothingLeft(folderIn(said));
});

test("Ctrl-C in the middle puts everything away", async () => {
  const { child, ended, begun, out, err } = demo();
  await begun;
  await sleep(500);
  child.kill("SIGINT");
  expect([await ended, await err]).toEqual([130, "Interrupted. The demo has put everything away.\n"]);
  expectNothingLeft(folderIn(await out));
});
