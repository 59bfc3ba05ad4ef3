import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { Folders } from "../../agent/process/folder.ts";
import { readLogs } from "../../agent/process/logs.ts";
import type { LogQuery } from "../../contract/frame.ts";
import { linesOf, startDriver } from "./process-driver.ts";
import { eventually, folder, sh, workload } from "./workload.ts";

const never = new AbortController().signal;
const ID = "dep_1-0";

/** Writes logs as shims would: `files[generation][file]` are lines, each `[ms, text]`. */
function written(files: Record<number, Record<number, [number, string][]>>): Folders {
  const folders = new Folders(folder());
  for (const [generation, numbered] of Object.entries(files)) {
    const dir = folders.logs(ID, Number(generation));
    mkdirSync(dir, { recursive: true });
    for (const [number, lines] of Object.entries(numbered)) {
      const text = lines.map(([at, line]) => `${at} o ${line}\n`).join("");
      writeFileSync(join(dir, `${number.padStart(8, "0")}.log`), text);
    }
  }
  return folders;
}

async function read(folders: Folders, over: Partial<LogQuery> = {}, signal = never): Promise<string[]> {
  const query = { workload_id: ID, generation: 2, tail: null, since: null, follow: false, ...over };
  const lines: string[] = [];
  for await (const batch of readLogs(folders, query, signal)) lines.push(...batch.map((line) => line.message));
  return lines;
}

describe("reading", () => {
  const folders = () =>
    written({
      1: {
        3: [
          [1000, "a"],
          [1001, "b"],
        ],
        4: [[1002, "c"]],
      },
      2: {
        1: [
          [2000, "d"],
          [2001, "e"],
        ],
      },
      3: { 1: [[3000, "f"]] },
    });

  test.each([
    [{}, ["a", "b", "c", "d", "e"]],
    [{ generation: 1 }, ["a", "b", "c"]],
    [{ generation: 3 }, ["a", "b", "c", "d", "e", "f"]],
    [{ tail: 0 }, []],
    [{ tail: 1 }, ["e"]],
    [{ tail: 2 }, ["d", "e"]],
    [{ tail: 3 }, ["c", "d", "e"]],
    [{ tail: 5 }, ["a", "b", "c", "d", "e"]],
    [{ tail: 99 }, ["a", "b", "c", "d", "e"]],
    [{ since: 1001 }, ["b", "c", "d", "e"]],
    [{ since: 2001, tail: 4 }, ["e"]],
    [{ since: 9999 }, []],
    [{ workload_id: "dep_none-0" }, []],
  ])("%j", async (query, lines) => {
    expect(await read(folders(), query)).toEqual(lines);
  });

  test("lines longer than what is read at once, text that is not UTF-8, and no last newline", async () => {
    const long = "x".repeat(200_000);
    const folders = written({
      1: {
        1: [
          [1, "a"],
          [2, long],
          [3, "b"],
        ],
      },
    });
    writeFileSync(
      join(folders.logs(ID, 1), "00000002.log"),
      Buffer.concat([Buffer.from("4 o "), Buffer.of(0xff, 0x00, 10), Buffer.from("5 o half")]),
    );
    expect(await read(folders)).toEqual(["a", long, "b", "\ufffd\u0000"]);
    expect(await read(folders, { tail: 3 })).toEqual([long, "b", "\ufffd\u0000"]);
  });
});

describe("of a program", () => {
  test("each line has its stream, its moment and its level", async () => {
    const { driver } = await startDriver(folder());
    const made = workload({
      spec: { command: sh("echo one; echo 'WARN two' >&2; printf 'three\\r\\nERROR: no newline'") },
    });
    const from = Date.now();
    await driver.apply(made, never);
    onTestFinished(() => driver.remove(made.id, 1, 0));
    await eventually(async () => (await linesOf(driver, made.id)).length === 4, "all is written");
    const lines = await linesOf(driver, made.id);
    expect(lines.filter((line) => line.stream === "stdout").map((line) => line.message)).toEqual([
      "one",
      "three",
      "ERROR: no newline",
    ]);
    expect(lines.find((line) => line.stream === "stderr")).toMatchObject({
      message: "WARN two",
      level: "warning",
      instance: `${made.id}-g1`,
    });
    for (const line of lines) expect(Date.parse(line.timestamp)).toBeGreaterThanOrEqual(from);
  });

  test("are kept over rotations up to a bound, while they are followed without a gap", async () => {
    const dataDir = folder();
    const { driver } = await startDriver(dataDir);
    // 60 MB: twice what is kept.
    const script = "for (let i = 0; i < 60000; i++) require('fs').writeSync(1, i + ' ' + 'x'.repeat(1000) + '\\n')";
    const made = workload({
      spec: { command: [process.execPath, "-e", `setTimeout(() => { ${script} }, 200); setTimeout(() => {}, 1e6)`] },
    });
    await driver.apply(made, never);
    onTestFinished(() => driver.remove(made.id, 1, 0));
    const abort = new AbortController();
    let expected = 0;
    let gaps = 0;
    const query = { workload_id: made.id, generation: 1, tail: null, since: null, follow: true };
    for await (const batch of driver.logs(query, abort.signal)) {
      for (const { message } of batch) {
        const number = Number(message.slice(0, message.indexOf(" ")));
        if (number !== expected) gaps++;
        expected = number + 1;
      }
      if (expected === 60_000) abort.abort();
    }
    // A reader that falls behind by more than is kept skips; it never sees a line twice or out of order.
    expect(gaps).toBeLessThanOrEqual(1);
    const kept = await linesOf(driver, made.id);
    const bytes = kept.reduce((sum, line) => sum + line.message.length, 0);
    expect(bytes).toBeLessThan(31 * 1024 ** 2);
    expect(bytes).toBeGreaterThan(19 * 1024 ** 2);
    expect(kept.at(-1)?.message.startsWith("59999 ")).toBe(true);
    expect((await linesOf(driver, made.id, { tail: 3 })).map((line) => line.message.slice(0, 5))).toEqual([
      "59997",
      "59998",
      "59999",
    ]);
  });

  test("follow gives each line within moments, and ends when the instance is removed", async () => {
    const { driver } = await startDriver(folder());
    const made = workload({ spec: { command: sh("while :; do date +%s%N; sleep 0.1; done") } });
    await driver.apply(made, never);
    const delays: number[] = [];
    const query = { workload_id: made.id, generation: 1, tail: 0, since: null, follow: true };
    for await (const batch of driver.logs(query, never)) {
      for (const line of batch) delays.push(Date.now() - Number(line.message) / 1e6);
      if (delays.length === 5) void driver.remove(made.id, 1, 0);
    }
    expect(delays.length).toBeGreaterThanOrEqual(5);
    expect(delays.sort((a, b) => a - b)[Math.floor(delays.length / 2)]).toBeLessThan(100);
  });

  test("of older generations stay until the workload is forgotten", async () => {
    const { driver } = await startDriver(folder());
    const first = workload({ spec: { command: sh("echo first") } });
    await driver.apply(first, never);
    await eventually(async () => (await linesOf(driver, first.id)).length === 1, "it is written");
    await driver.remove(first.id, 1, 0);
    await driver.apply({ ...first, generation: 2, spec: { ...first.spec, command: sh("echo second") } }, never);
    await eventually(async () => (await linesOf(driver, first.id, { generation: 2 })).length === 2, "both are there");
    expect((await linesOf(driver, first.id, { generation: 2 })).map((line) => [line.instance, line.message])).toEqual([
      [`${first.id}-g1`, "first"],
      [`${first.id}-g2`, "second"],
    ]);
    await driver.remove(first.id, 2, 0);
    await driver.forget(first.id);
    expect(await linesOf(driver, first.id, { generation: 2 })).toEqual([]);
  });
});
