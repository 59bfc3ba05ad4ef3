// Two `up`s that begin at the same moment: each has a keeper of its own, and nobody else is told its token.

import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, expect, test } from "vitest";
import { askKeeper } from "../../agent/postgres/keeper-request.ts";
import type { Child } from "../../cli/up/child.ts";
import {
  type DatabasePlan,
  databaseVariables,
  planDatabases,
  releasePorts,
  startKeeper,
} from "../../cli/up/databases.ts";
import { holdPort } from "../../cli/up/held-port.ts";
import type { KeeperAddress } from "../../contract/writer.ts";
import { keepersOf } from "../../objects/database/keepers.ts";
import { freePort } from "../free-port.ts";

const folder = mkdtempSync(join(tmpdir(), "lamp-up-keeper-"));
const children: Child[] = [];
const plans: DatabasePlan[] = [];

afterEach(async () => {
  await Promise.all(children.splice(0).map((child) => child.stop(2_000)));
  for (const own of plans.splice(0)) releasePorts(own);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function plan(name: string, port: number): Promise<DatabasePlan> {
  const made = await planDatabases(mkdtempSync(join(folder, name)), "127.0.0.1", 0);
  made.keeper.held.close();
  const own = { ...made, keeper: { ...made.keeper, held: await holdPort("127.0.0.1", port) } };
  plans.push(own);
  return own;
}

async function start(own: DatabasePlan): Promise<{ child: Child; address: KeeperAddress }> {
  const { child, fingerprint } = await startKeeper(own);
  children.push(child);
  const [address] = keepersOf(databaseVariables(own, fingerprint));
  if (address === undefined) throw new Error("KEEPERS names no keeper");
  return { child, address };
}

/** Why a foreign program cannot listen there; null when it can. */
async function intrude(port: number): Promise<string | null> {
  const server = createServer();
  return new Promise((done) => {
    server.once("error", (error: NodeJS.ErrnoException) => done(error.code ?? ""));
    server.listen(port, "127.0.0.1", () => server.close(() => done(null)));
  });
}

test("both begin on the usual port: each gets one, and its token opens that one only", {
  timeout: 120_000,
}, async () => {
  const port = await freePort();
  const [a, b] = (await Promise.all([plan("a", port), plan("b", port)])).map(start);
  const [one, other] = await Promise.all([a, b]);
  if (one === undefined || other === undefined) throw new Error("two are started");
  expect(one.address.url).not.toBe(other.address.url);
  expect([one, other].map(({ address }) => address.url)).toContain(`https://127.0.0.1:${port}`);
  for (const { address } of [one, other])
    expect((await askKeeper(address, "/databases", { method: "GET" })).status).toBe(200);
  // The other's address with the own token, which only the fingerprint holds back.
  const wrong = { ...one.address, url: other.address.url };
  await expect(askKeeper(wrong, "/databases", { method: "GET" })).rejects.toThrow("another certificate");
});

test("its port is never free, before it is started and while it is not there: who asks meanwhile is answered by the next", {
  timeout: 120_000,
}, async () => {
  const own = await plan("c", await freePort());
  const { port } = own.keeper.held;
  expect(await intrude(port)).toBe("EADDRINUSE");
  const first = await start(own);
  expect(await intrude(port)).toBe("EADDRINUSE");
  const gone = first.child.exited;
  first.child.kill("SIGKILL");
  await gone;
  expect(await intrude(port)).toBe("EADDRINUSE");
  const asked = askKeeper(first.address, "/databases", { method: "GET" });
  await start(own);
  expect((await asked).status).toBe(200);
  // Nobody holds it for one that goes on by itself.
  releasePorts(own);
  expect((await askKeeper(first.address, "/databases", { method: "GET" })).status).toBe(200);
  await Promise.all(children.splice(0).map((child) => child.stop(2_000)));
  expect(await intrude(port)).toBe(null);
});
