import { rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type Keeper, runKeeper } from "../../keeper/main.ts";
import { Connection } from "../../postgres/connection.ts";
import { selfSigned } from "../../postgres/self-signed.ts";
import { scratch } from "../scratch.ts";

const dataDir = scratch("keeper");
const lines: string[] = [];
let keeper: Keeper;

const open = (port = 0) =>
  runKeeper({ dataDir, listen: { host: "127.0.0.1", port }, log: (line) => void lines.push(line) });

beforeAll(async () => {
  keeper = await open();
});
afterAll(async () => {
  await keeper?.close();
  rmSync(dataDir, { recursive: true, force: true });
});

const until = (check: () => boolean) => vi.waitUntil(check, { timeout: 10_000, interval: 5 });

async function ask(method: string, path: string, body?: string, token = keeper.token) {
  const headers = { authorization: `Bearer ${token}` };
  const response = await fetch(keeper.url + path, { method, headers, ...(body === undefined ? {} : { body }) });
  return { status: response.status, body: (await response.json()) as { code?: string; message?: string } };
}

test("without the token nothing is told but that it works", async () => {
  expect(await ask("GET", "/health", undefined, "")).toEqual({ status: 200, body: { status: "ok", keeper: "keeper" } });
  for (const [method, path] of [
    ["GET", "/databases"],
    ["GET", "/metrics"],
    ["POST", "/databases/db_a/promise"],
    ["DELETE", "/databases/db_a?term=9"],
    ["GET", "/nowhere"],
  ] as const)
    expect(await ask(method, path, undefined, "lamp_keeper_wrong")).toMatchObject({
      ...{ status: 401 },
      body: { code: "unauthorized" },
    });
});

test("what is wrong is named, and nothing is made of it", async () => {
  const wrong: [method: string, path: string, body: string | undefined, code: string, says: string][] = [
    ["POST", "/databases/db_a/promise", "{", "invalid", "not JSON"],
    ["POST", "/databases/db_a/promise", "{}", "invalid", "term"],
    ["POST", "/databases/db_a/promise", '{"term":0}', "invalid", "term"],
    ["POST", "/databases/db_a/promise", "x".repeat(70_000), "invalid", "too large"],
    ["POST", "/databases/..%2F..%2Fetc/promise", '{"term":1}', "invalid", "id"],
    ["PUT", "/databases/db_a/writer", '{"term":1,"host":"","port":0}', "invalid", "port"],
    ["PUT", "/databases/db_a/seed?term=1", "", "invalid", "system_identifier"],
    ["GET", "/databases/db_a", undefined, "not_found", "nothing is kept of db_a"],
    ["GET", "/databases/db_a/wal/..%2Fstate.json", undefined, "not_found", "nothing is kept"],
    ["DELETE", "/databases/db_a?term=1", undefined, "not_found", "nothing is kept"],
    ["PATCH", "/databases", "", "not_found", "/databases"],
  ];
  for (const [method, path, body, code, says] of wrong) {
    const answer = await ask(method, path, body);
    expect(answer.body, `${method} ${path}`).toMatchObject({ code, message: expect.stringContaining(says) });
  }
  expect((await ask("GET", "/databases")).body).toEqual([]);
});

test("a database that was only promised: nothing to restore, no base backup to take, no file outside its folder", async () => {
  expect(await ask("POST", "/databases/db_b/promise", '{"term":2}')).toMatchObject({
    status: 200,
    body: { promised_term: 2, restorable: false, flush_lsn: null },
  });
  expect((await ask("GET", "/databases/db_b/restore-plan")).body.code).toBe("not_restorable");
  expect((await ask("GET", "/databases/db_b/restore-plan?lsn=nonsense")).status).toBeGreaterThanOrEqual(400);
  expect((await ask("POST", "/databases/db_b/bases")).body.code).toBe("conflict");
  for (const file of ["..%2Fstate.json", "000000010000000000000001", "state.json"])
    expect((await ask("GET", `/databases/db_b/wal/${file}`)).body.code, file).toBe("not_found");
  expect((await ask("DELETE", "/databases/db_b?term=1")).body.code).toBe("stale_term");
  expect((await ask("DELETE", "/databases/db_b?term=3")).status).toBe(200);
  expect((await ask("GET", "/databases/db_b")).body.code).toBe("not_found");
});

describe.each(["without TLS", "with TLS"])(
  "a writer that stands still, %s: it takes connections and answers nothing",
  (how) => {
    const certificate = how === "with TLS" ? selfSigned("writer", ["127.0.0.1"], Date.now()).certificate : null;
    const sockets = new Set<Socket>();
    const still = createServer((socket) => void sockets.add(socket.on("error", () => {})));
    let at: { host: string; port: number };
    beforeAll(async () => {
      await new Promise<void>((done) => still.listen(0, "127.0.0.1", done));
      at = { host: "127.0.0.1", port: (still.address() as AddressInfo).port };
    });
    afterAll(() => {
      for (const socket of sockets) socket.destroy();
      still.close();
    });

    test("it is given up in time, and at once when nobody wants it any more", async () => {
      const open = (timeoutMs: number, signal?: AbortSignal) =>
        Connection.open({ ...at, user: "u", certificate, timeoutMs, signal });
      await expect(open(200)).rejects.toThrow("within 200 ms");
      const stop = new AbortController();
      const opening = open(60_000, stop.signal);
      await until(() => sockets.size === 2);
      stop.abort();
      await expect(opening).rejects.toThrow("given up");
    });

    test("who follows it promises a later term all the same", async () => {
      sockets.clear();
      const database = `db_still_${certificate === null ? "plain" : "tls"}`;
      const writer = { ...at, term: 1, user: "u", password: "p", certificate };
      expect((await ask("PUT", `/databases/${database}/writer`, JSON.stringify(writer))).status).toBe(200);
      await until(() => sockets.size > 0);
      const begun = performance.now();
      const { status, body } = await ask("POST", `/databases/${database}/promise`, '{"term":2}');
      expect([status, body]).toMatchObject([200, { promised_term: 2, following: { state: "off" } }]);
      expect(performance.now() - begun).toBeLessThan(2_000);
    });
  },
);

test("a second keeper on the folder is refused, and says which one has it", async () => {
  await expect(open()).rejects.toThrow(`process ${process.pid}`);
});

test("a database whose state cannot be read is not taken for one that is new, and holds up no other", async () => {
  await ask("POST", "/databases/db_c/promise", '{"term":7}');
  await ask("POST", "/databases/db_d/promise", '{"term":7}');
  const { port } = new URL(keeper.url);
  await keeper.close();
  writeFileSync(join(dataDir, "databases", "db_c", "state.slots"), "{ half");
  keeper = await open(Number(port));
  expect(await ask("POST", "/databases/db_c/promise", '{"term":1}')).toMatchObject({ status: 503 });
  expect(await ask("GET", "/databases/db_d")).toMatchObject({ status: 200, body: { promised_term: 7 } });
  expect(lines.join("\n")).toContain("db_c: cannot be opened");
});

test("who connects and says nothing, or nonsense, holds up nobody", async () => {
  const { port } = new URL(keeper.url);
  const silent = Array.from({ length: 50 }, () => connect(Number(port), "127.0.0.1"));
  const rude = connect(Number(port), "127.0.0.1");
  rude.write("\x16\x03\x01 nonsense\r\n\r\n");
  await new Promise((done) => rude.once("close", done).resume());
  expect((await ask("GET", "/health")).status).toBe(200);
  for (const socket of silent) socket.destroy();
});
