import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LogQuery } from "../../contract/frame.ts";
import type { LogLine, Workload } from "../../contract/workload.ts";
import {
  CuttableProxy,
  engineNames,
  engineParts,
  exits,
  Harness,
  lines,
  never,
  pause,
  type Running,
  until,
} from "./docker-harness.ts";

describe.each(engineNames)("logs of %s", { concurrent: true }, (runtime) => {
  const part = engineParts[runtime];
  describe.skipIf(!part.available)(`${part.reason || "available"}`, () => {
    let harness: Harness;
    let running: Running;

    beforeAll(async () => {
      harness = await Harness.open(runtime, part);
      running = await harness.start();
    });
    afterAll(() => harness?.close());

    const query = (workload: Workload, of: Partial<LogQuery> = {}): LogQuery => ({
      workload_id: workload.id,
      generation: 1,
      tail: null,
      since: null,
      follow: false,
      ...of,
    });
    const texts = (all: LogLine[]) => all.map((it) => it.message);
    /** Runs a script to its end. */
    const ran = async (script: string): Promise<Workload> => {
      const workload = harness.workload({ kind: "job", command: ["sh", "-c", script] });
      const answer = await running.driver.apply(workload, never);
      if (answer.phase !== "exited") await until("the end", () => exits(running.seen, workload)[0]);
      return workload;
    };
    const read = (workload: Workload, of: Partial<LogQuery> = {}, signal = never) =>
      lines(running.driver.logs(query(workload, of), signal));

    test("both streams, in order, with the engine's time and a level", async () => {
      const begun = Date.now();
      const workload = await ran("echo one; echo 'ERROR two' >&2; sleep 0.05; echo three; echo; echo '  five '");
      const all = await read(workload);
      expect(texts(all.filter((it) => it.stream === "stdout"))).toEqual(["one", "three", "", "  five "]);
      expect(all.filter((it) => it.stream === "stderr")).toMatchObject([{ message: "ERROR two", level: "error" }]);
      for (const line of all) {
        expect(line.instance).toMatch(/-g1$/);
        expect(line.timestamp).toMatch(/Z$/);
        expect(Math.abs(Date.parse(line.timestamp) - begun)).toBeLessThan(10_000);
      }
    });

    test("tail and since", async () => {
      const workload = await ran("for i in 1 2 3 4 5; do echo $i; done; sleep 1.2; for i in 6 7; do echo $i; done");
      expect(texts(await read(workload, { tail: 3 }))).toEqual(["5", "6", "7"]);
      expect(texts(await read(workload, { tail: 0 }))).toEqual([]);
      expect(texts(await read(workload, { tail: 100 }))).toEqual(["1", "2", "3", "4", "5", "6", "7"]);
      const all = await read(workload);
      const since = Date.parse(all[5]?.timestamp ?? "");
      expect(texts(await read(workload, { since }))).toEqual(["6", "7"]);
      expect(texts(await read(workload, { since, tail: 1 }))).toEqual(["7"]);
      expect(texts(await read(workload, { since: Date.now() + 60_000 }))).toEqual([]);
    });

    test("tail counts lines, however the engine keeps them", async () => {
      const long = "i=0; while [ $i -lt 4000 ]; do printf 0123456789; i=$((i+1)); done; echo";
      const pieces = "for piece in a b c d e; do printf $piece; sleep 0.02; done; echo f";
      const workload = await ran(`echo before; ${long}; echo between; ${pieces}`);
      expect(texts(await read(workload, { tail: 1 }))).toEqual(["abcdef"]);
      expect(texts(await read(workload, { tail: 2 }))).toEqual(["between", "abcdef"]);
      expect(texts(await read(workload, { tail: 3 }))).toEqual(["0123456789".repeat(4000), "between", "abcdef"]);
    });

    test("a line that is being written while a reader comes or is cut off is given once and whole", async () => {
      const proxy = await new CuttableProxy(harness.socketPath, harness.stateDir).open();
      const { driver } = await harness.start({ socketPath: proxy.path });
      // Longer than the engine's pieces, so that Docker too shows a part of it before its end.
      const half = "i=0; while [ $i -lt 2000 ]; do printf 0123456789; i=$((i+1)); done";
      const workload = harness.workload({
        command: ["sh", "-c", `echo first; ${half}; sleep 1; echo aside >&2; sleep 1; ${half}; echo; sleep 1000`],
      });
      await driver.apply(workload, never);
      await until("the first line", async () => (await lines(driver.logs(query(workload), never))).length >= 1);
      await pause(300);
      const abort = new AbortController();
      const got: string[] = [];
      const reading = (async () => {
        const logs = driver.logs(query(workload, { follow: true, tail: 10 }), abort.signal);
        for await (const batch of logs) got.push(...texts(batch));
      })();
      await until("the line between", () => got.includes("aside"));
      proxy.cut();
      await pause(100);
      proxy.mend();
      const whole = "0123456789".repeat(4000);
      await until("the whole line", () => got.includes(whole));
      abort.abort();
      await reading;
      expect(got.map((it) => it.length)).toEqual(["first", "aside", whole].map((it) => it.length));
      await driver.close();
      await proxy.close();
    });

    test("a line longer than the engine's pieces comes as one, whole characters and all", async () => {
      const workload = await ran(
        "i=0; while [ $i -lt 3000 ]; do printf 'grüße €𝄞 '; i=$((i+1)); done; echo end; echo next",
      );
      const all = await read(workload);
      expect(texts(all)).toEqual([`${"grüße €𝄞 ".repeat(3000)}end`, "next"]);
    });

    test("a last line without an end", async () => {
      expect(texts(await read(await ran("echo whole; printf rest")))).toEqual(["whole", "rest"]);
    });

    test("ten thousand lines stay in order", async () => {
      const workload = await ran("seq 1 10000");
      expect(texts(await read(workload))).toEqual(Array.from({ length: 10_000 }, (_, index) => String(index + 1)));
    });

    test("bytes that are no text do not break a line", async () => {
      const all = await read(await ran("printf 'a\\377b\\n\\033[31mred\\033[0m\\n'"));
      expect(texts(all)).toEqual(["a\ufffdb", "\u001b[31mred\u001b[0m"]);
    });

    test("follow goes on past the end of the program, until the instance is removed", async () => {
      const workload = harness.workload({ command: ["sh", "-c", "echo first; sleep 0.4; echo second"] });
      await running.driver.apply(workload, never);
      const got: string[] = [];
      let over = false;
      const reading = (async () => {
        for await (const batch of running.driver.logs(query(workload, { follow: true }), never))
          got.push(...texts(batch));
        over = true;
      })();
      await until("the first line", () => got.includes("first"));
      await until("the second line", () => got.includes("second"));
      await until("the exit", () => exits(running.seen, workload)[0]);
      await pause(400);
      expect(over).toBe(false);
      await running.driver.remove(workload.id, 1, 0);
      await reading;
      expect(got).toEqual(["first", "second"]);
    });

    test("follow ends at once when it is aborted", async () => {
      const workload = harness.workload({ command: ["sh", "-c", "echo first; sleep 1000"] });
      await running.driver.apply(workload, never);
      const abort = new AbortController();
      const got: string[] = [];
      const reading = (async () => {
        const logs = running.driver.logs(query(workload, { follow: true }), abort.signal);
        for await (const batch of logs) got.push(...texts(batch));
      })();
      await until("the first line", () => got.includes("first"));
      const begun = Date.now();
      abort.abort();
      await reading;
      expect(Date.now() - begun).toBeLessThan(2_000);
      expect(got).toEqual(["first"]);
    });

    test("follow from now on", async () => {
      const workload = harness.workload({ command: ["sh", "-c", "echo old; sleep 1.2; echo new; sleep 1000"] });
      await running.driver.apply(workload, never);
      await until("the old line", async () => (await read(workload)).length === 1);
      const abort = new AbortController();
      const got: string[] = [];
      const reading = (async () => {
        for await (const batch of running.driver.logs(query(workload, { follow: true, tail: 0 }), abort.signal))
          got.push(...texts(batch));
      })();
      await until("the new line", () => got.includes("new"));
      abort.abort();
      await reading;
      expect(got).toEqual(["new"]);
    });

    test("a cut while following loses nothing and repeats nothing", async () => {
      const proxy = await new CuttableProxy(harness.socketPath, harness.stateDir).open();
      const { driver } = await harness.start({ socketPath: proxy.path });
      const script =
        "i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo line $i; echo line $i; sleep 0.02; done; sleep 1000";
      const workload = harness.workload({ command: ["sh", "-c", script] });
      await driver.apply(workload, never);
      const got: string[] = [];
      const abort = new AbortController();
      const reading = (async () => {
        for await (const batch of driver.logs(query(workload, { follow: true }), abort.signal))
          got.push(...texts(batch));
      })();
      for (const at of [10, 40]) {
        await until(`line ${at}`, () => got.includes(`line ${at}`));
        proxy.cut();
        await pause(150);
        proxy.mend();
      }
      await until("the last line", () => got.filter((it) => it === "line 60").length >= 2);
      await pause(100);
      abort.abort();
      await reading;
      expect(got).toEqual(Array.from({ length: 60 }, (_, index) => [`line ${index + 1}`, `line ${index + 1}`]).flat());
      await driver.close();
      await proxy.close();
    });

    test("what is not here has no logs", async () => {
      await expect(read(harness.workload())).rejects.toThrow(/not on this host/);
    });
  });
});
