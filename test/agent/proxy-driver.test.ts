// The proxy as the agent has it: a process of its own that outlives the agent, is told all routes, and gives way to one of other code.

import { copyFileSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { ProxyDriver, type ProxyOptions } from "../../agent/instance-proxy/driver.ts";
import { REPORT_ENV } from "../../contract/instance-report.ts";
import type { Route } from "../../contract/route.ts";
import type { Workload } from "../../contract/workload.ts";
import { freePort } from "../free-port.ts";
import { engine, ID, keyOf, SECRET, wait } from "./instance-proxy-site.ts";
import { eventually, folder, workload } from "./workload.ts";

const CLOSED = { code: "paused", detail: "paused", retry_after_s: 5, soon: false } as const;

function routed(generation: number, over: Partial<Route>, id = ID): Workload {
  const keys = [{ id: "web", expires_at: null }];
  const route: Route = { target: null, loading: null, closed: CLOSED, tells: true, wakes: false, keys, ...over };
  const environment = { [REPORT_ENV.keySecret]: SECRET };
  return workload({ id: `${id}-4`, generation, owner: id, spec: { runtime: "proxy", route, environment } });
}

async function start(dataDir: string, over: Partial<ProxyOptions> = {}) {
  const asked: [string, number, boolean][] = [];
  const log: string[] = [];
  const driver = new ProxyDriver({
    ...{ dataDir, advertiseAddress: "127.0.0.1", kept: () => [], log: (line) => log.push(line) },
    asked: (id, generation, waits) => asked.push([id, generation, waits]),
    ...over,
  });
  onTestFinished(async () => {
    for (const pid of proxiesOf(dataDir)) process.kill(pid, "SIGKILL");
    await driver.close();
  });
  return { driver, asked, log, found: await driver.start() };
}

/** The processes of proxies of an agent. */
const proxiesOf = (dataDir: string): number[] =>
  readdirSync("/proc")
    .filter((pid) => /^\d+$/.test(pid))
    .filter((pid) => {
      try {
        const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
        return words.includes("--control") && words.some((word) => word.startsWith(`${dataDir}/`));
      } catch {
        return false;
      }
    })
    .map(Number);

const ask = (address: string, id = ID): Promise<Response> =>
  fetch(`http://${address}/${id}/query`, { method: "POST", body: "x", headers: { authorization: keyOf("web") } });

async function addressOf(driver: ProxyDriver, made: Workload): Promise<string> {
  const seen = await driver.apply(made);
  if (seen.phase !== "running" || seen.address === null) throw new Error(JSON.stringify(seen));
  return seen.address;
}

test("it comes with the first route and goes with the last; its address stays, whatever ends in between", async () => {
  const dataDir = folder();
  const first = await start(dataDir);
  expect([first.found, proxiesOf(dataDir)]).toEqual([[], []]);
  const { target } = await engine((_request, response) => response.end("[]"));
  const route = routed(3, { target });
  const address = await addressOf(first.driver, route);
  expect((await ask(address)).status).toBe(200);
  const [pid] = proxiesOf(dataDir);

  // The agent is started anew: the proxy is the same process, and has lost nothing.
  await first.driver.close();
  expect((await ask(address)).status).toBe(200);
  const second = await start(dataDir, { kept: () => [route] });
  expect(second.found).toMatchObject([{ id: `${ID}-4`, generation: 3, observation: { phase: "running", address } }]);
  expect((await ask(address)).status).toBe(200);
  expect(proxiesOf(dataDir)).toEqual([pid]);

  process.kill(pid as number, "SIGKILL");
  await eventually(async () => (await ask(address).catch(() => null))?.status === 200, "it is there again", 10_000);
  expect(proxiesOf(dataDir)).not.toEqual([pid]);

  await second.driver.remove(`${ID}-4`, 2);
  expect((await ask(address)).status).toBe(200);
  await second.driver.remove(`${ID}-4`, 3);
  await eventually(() => proxiesOf(dataDir).length === 0, "it has ended", 10_000);
  expect(await addressOf(second.driver, routed(4, { target }))).toBe(address);
  expect((await ask(address)).status).toBe(200);
}, 60_000);

test("what an agent says is there at once: another engine, another key, nothing any more; and a stop waits for what is under way", async () => {
  const { driver, asked } = await start(folder());
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const slow = await engine(async (_request, response) => {
    await held;
    response.end("slow");
  });
  const next = await engine((_request, response) => response.end("next"), 2);
  const address = await addressOf(driver, routed(1, { target: slow.target }));
  const underWay = ask(address);
  await eventually(() => asked.length > 0, "it is said that it is asked");
  expect(asked).toEqual([[`${ID}-4`, 1, false]]);
  let isDrained = false;
  const drained = driver.drain(slow.target.workload_id, 1).then(() => {
    isDrained = true;
  });
  const meanwhile = ask(address);
  await wait(100);
  // As the reconciler does it: away with the former generation, then the next one.
  await driver.remove(`${ID}-4`, 1);
  await addressOf(driver, routed(2, { target: next.target }));
  expect(await (await meanwhile).text()).toBe("next");
  expect(isDrained).toBe(false);
  release();
  expect(await (await underWay).text()).toBe("slow");
  await drained;
  await driver.drain("inst_00000000000000000000000009-2", 1);
  await driver.remove(`${ID}-4`, 2);
  await addressOf(driver, routed(3, { wakes: true }));
  const waiting = ask(address);
  await eventually(() => asked.length > 1, "it is said that somebody waits");
  expect(asked[1]).toEqual([`${ID}-4`, 3, true]);
  await driver.remove(`${ID}-4`, 3);
  await addressOf(driver, routed(4, { target: next.target }));
  expect((await waiting).status).toBe(200);
  expect(await driver.apply(workload({ spec: { runtime: "proxy" } }))).toMatchObject({ phase: "failed" });
}, 60_000);

test.skipIf(process.platform !== "linux")(
  "an agent with other code brings a proxy of its own, and callers notice nothing of the change",
  async () => {
    const dataDir = folder();
    const port = await freePort();
    const { target } = await engine((_request, response) => void setTimeout(() => response.end("[]"), 10));
    const former = await start(dataDir, { port });
    const route = routed(1, { target });
    const address = await addressOf(former.driver, route);
    const [pid] = proxiesOf(dataDir);
    await former.driver.close();

    const failures: unknown[] = [];
    let isOver = false;
    let count = 0;
    const callers = Array.from({ length: 6 }, async () => {
      while (!isOver) {
        const outcome = await ask(address).then(
          async (response) => `${response.status} ${await response.text()}`,
          (error: Error) => `${error.message} ${(error.cause as Error | undefined)?.message}`,
        );
        if (outcome !== "200 []") failures.push(outcome);
        count++;
      }
    });
    const { ProxyDriver: Other } = await otherCode();
    const later = new Other({
      ...{ dataDir, port, advertiseAddress: "127.0.0.1", kept: () => [route], asked: () => {}, log: () => {} },
    });
    onTestFinished(() => later.close());
    await later.start();
    await eventually(() => !proxiesOf(dataDir).includes(pid as number), "the former has ended", 45_000);
    await wait(300);
    isOver = true;
    await Promise.all(callers);
    expect(failures).toEqual([]);
    expect(count).toBeGreaterThan(50);
    expect(proxiesOf(dataDir)).toHaveLength(1);
    expect(readdirSync(join(dataDir, "proxy")).filter((name) => name.endsWith(".sock")).length).toBeLessThanOrEqual(2);
  },
  90_000,
);

/** The same driver from a copy in which one more file is part of the proxy. */
async function otherCode(): Promise<{ ProxyDriver: typeof ProxyDriver }> {
  const root = join(import.meta.dirname, "..", "..");
  const copy = folder();
  const own = join(copy, "agent", "instance-proxy");
  mkdirSync(own, { recursive: true });
  for (const path of [
    "contract",
    "node_modules",
    "package.json",
    "agent/process",
    "agent/driver.ts",
    "agent/compiled-modules.ts",
  ])
    symlinkSync(join(root, path), join(copy, path));
  for (const name of readdirSync(join(root, "agent", "instance-proxy")))
    copyFileSync(join(root, "agent", "instance-proxy", name), join(own, name));
  writeFileSync(join(own, "another.ts"), "export {};\n");
  return import(join(own, "driver.ts")) as Promise<{ ProxyDriver: typeof ProxyDriver }>;
}
