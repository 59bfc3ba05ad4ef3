// Two `up`s that begin at the same moment: each has a keeper of its own, and nobody else is told its token.

import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, expect, test } from "vitest";
import { askKeeper } from "../../agent/postgres/keeper-request.ts";
import type { Child } from "../../cli/up/child.ts";
import {
  type DatabasePlan,
  databaseVariables,
  firstKeeper,
  planDatabases,
  startKeeper,
} from "../../cli/up/databases.ts";
import { keepersOf } from "../../objects/database/keepers.ts";
import { freePort } from "../free-port.ts";

const folder = mkdtempSync(join(tmpdir(), "lamp-up-keeper-"));
const children: Child[] = [];
const servers: Server[] = [];

afterEach(async () => {
  await Promise.all(children.splice(0).map((child) => child.stop(2_000)));
  for (const server of servers.splice(0)) server.close();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function listening(port = 0, onData: (bytes: Buffer) => void = () => {}): Promise<number> {
  const server = createServer((socket) => socket.on("data", onData).on("error", () => {}));
  servers.push(server);
  await new Promise<void>((done) => server.listen(port, "127.0.0.1", done));
  return (server.address() as { port: number }).port;
}

async function plan(name: string, port: number): Promise<DatabasePlan> {
  const made = await planDatabases(mkdtempSync(join(folder, name)), "127.0.0.1", 0);
  servers.push(made.gateway.held);
  return { ...made, keeper: { ...made.keeper, port } };
}

test("both begin on the usual port: each gets one, and its token opens that one only", {
  timeout: 120_000,
}, async () => {
  const port = await freePort();
  const plans = [await plan("a", port), await plan("b", port)];
  const started = await Promise.all(plans.map(firstKeeper));
  children.push(...started.map(({ child }) => child));
  const [a, b] = started.map(({ at }, i) => keepersOf(databaseVariables(plans[i] as DatabasePlan, at))[0]);
  if (a === undefined || b === undefined) throw new Error("KEEPERS names no keeper");
  expect(a.url).not.toBe(b.url);
  for (const own of [a, b]) expect((await askKeeper(own, "/databases", { method: "GET" })).status).toBe(200);
  // The other's address with the own token, which only the fingerprint holds back.
  await expect(askKeeper({ ...a, url: b.url }, "/databases", { method: "GET" })).rejects.toThrow("another certificate");
});

test("a foreign program that took the port meanwhile is neither believed nor told anything", {
  timeout: 120_000,
}, async () => {
  const own = await plan("c", await freePort());
  const { child, at } = await firstKeeper(own);
  const [address] = keepersOf(databaseVariables(own, at));
  if (address === undefined) throw new Error("KEEPERS names no keeper");
  await child.stop(2_000);
  let heard = "";
  await listening(at.port, (bytes) => (heard += bytes.toString("latin1")));
  await expect(startKeeper(own, at)).rejects.toThrow(/the keeper did not start/);
  const signal = AbortSignal.timeout(500);
  const asked = Date.now();
  await expect(askKeeper(address, "/databases", { method: "GET", signal })).rejects.toThrow();
  // It never finishes the handshake: nobody waits for that any longer than they said.
  expect(Date.now() - asked).toBeLessThan(5_000);
  expect(heard).not.toBe("");
  expect(heard).not.toContain(own.keeper.token);
});
