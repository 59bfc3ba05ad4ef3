// Engines that come and go behind the proxy of their host, while callers go on asking.
import { createHmac } from "node:crypto";
import type { RequestListener } from "node:http";
import { describe, expect, test } from "vitest";
import {
  engine,
  ID,
  keyOf,
  LOADING,
  program,
  SECRET,
  startProxy,
  textOf,
  wait,
  withKey,
} from "./instance-proxy-site.ts";
import { eventually } from "./workload.ts";

describe("engines that come and go", () => {
  test("under load a switch is seen by nobody, and the old engine has answered everything before it is stopped", async () => {
    const { route, targets, ask } = await startProxy();
    const answered = new Map<string, number>();
    const slow =
      (name: string): RequestListener =>
      async (request, response) => {
        await textOf(request);
        await wait(Math.random() * 20);
        answered.set(name, (answered.get(name) ?? 0) + 1);
        response.end(name);
      };
    let current = await engine(slow("1"), 1);
    route({ target: current.target });
    let isOver = false;
    const failures: unknown[] = [];
    let count = 0;
    const callers = Array.from({ length: 20 }, async () => {
      while (!isOver) {
        const response = await ask(withKey).catch((error: unknown) => error);
        if (!(response instanceof Response) || response.status !== 200) failures.push(response);
        else await response.text();
        count++;
      }
    });
    const inUse = (name: string) => eventually(async () => answered.has(name), `${name} answers`);
    for (let generation = 2; generation <= 6; generation++) {
      await Promise.all([wait(150), inUse(String(generation - 1))]);
      const next = await engine(slow(String(generation)), generation);
      // Whichever is heard first: that the old one is to go, or where the new one is.
      const swap = () => route({ target: next.target });
      if (generation % 2 === 0) swap();
      else setTimeout(swap, 30);
      await targets.retire(current.target, 5_000);
      current.end();
      current = next;
    }
    await Promise.all([wait(100), inUse("6"), eventually(async () => count > 200, "there is a load")]);
    isOver = true;
    await Promise.all(callers);
    expect(failures).toEqual([]);
    expect([...answered.keys()].sort()).toEqual(["1", "2", "3", "4", "5", "6"]);
  });

  test("killed with queries under way, they are asked of the next one; without a key nobody waits", async () => {
    const { route, ask } = await startProxy({ soonMs: 5_000 });
    const first = await program("setInterval(() => {}, 1000)");
    route({ target: { ...first.target, generation: 1 } });
    const asked = Array.from({ length: 30 }, () => ask(withKey));
    await eventually(async () => (await first.count()) === 30, "all are under way");
    first.child.kill("SIGKILL");
    const stranger = await ask();
    expect(stranger.status).toBe(401);
    const second = await engine(async (request, response) => response.end(await textOf(request)), 2);
    await wait(300);
    route({ target: second.target });
    for (const response of await Promise.all(asked))
      expect([response.status, await response.text()]).toEqual([200, "users { id }"]);
  });

  test("an engine that dies of a query is asked it twice and no more", async () => {
    const { route, ask } = await startProxy();
    let asked = 0;
    const { target } = await engine((request) => {
      asked++;
      request.socket.destroy();
    });
    route({ target });
    const response = await ask(withKey);
    expect([response.status, response.headers.get("retry-after"), asked]).toEqual([503, "5", 2]);
    expect(await response.json()).toMatchObject({ code: "no_engine", status: 503 });
  });

  test("an answer that was begun and not ended is cut, not completed by another", async () => {
    const { route, ask } = await startProxy();
    let asked = 0;
    const { target } = await engine((request, response) => {
      asked++;
      response.writeHead(200, { "content-length": 100 });
      response.write("[1,");
      setTimeout(() => request.socket.destroy(), 20);
    });
    route({ target });
    await expect(ask(withKey).then((response) => response.text())).rejects.toThrow();
    expect(asked).toBe(1);
  });

  test("a kept connection that the engine has closed meanwhile costs nobody an answer", async () => {
    const { route, ask } = await startProxy();
    const { target, server } = await engine((_request, response) => response.end("[]"));
    server.keepAliveTimeout = 1;
    route({ target });
    for (let i = 0; i < 200; i++) {
      expect((await ask(withKey)).status).toBe(200);
      if (i % 10 === 0) server.closeIdleConnections();
    }
  });

  test("for the moment in which a route is replaced its callers wait; when it does not come back it is not known any more", async () => {
    const { route, routes, ask } = await startProxy();
    const { target } = await engine((_request, response) => response.end("[]"));
    route({ target });
    routes.replace([]);
    const waiting = ask(withKey);
    await wait(50);
    route({ target, wakes: true });
    expect((await waiting).status).toBe(200);
    routes.replace([]);
    expect((await ask(withKey)).status).toBe(404);
  });
});

describe("an instance without an engine", () => {
  test("says why, and when to come again; with a key also how far it is", async () => {
    const { route, ask, url } = await startProxy();
    route({});
    const paused = await ask();
    expect([paused.status, paused.headers.get("retry-after"), paused.headers.get("content-type")]).toEqual([
      ...[503, "60", "application/problem+json"],
    ]);
    expect(await paused.json()).toEqual({
      ...{ type: "about:blank", title: "paused", status: 503, code: "paused", detail: "paused" },
    });
    expect((await fetch(`${url}/health`)).status).toBe(503);
    const comeAgain = async (seconds: number) => {
      const closed = { code: "paused", detail: "paused", retry_after_s: 60, soon: false } as const;
      route({ closed: { ...closed, resumes_at: Date.now() + seconds * 1000 } });
      return Number((await ask()).headers.get("retry-after"));
    };
    expect([await comeAgain(7200), await comeAgain(-30)]).toEqual([3600, 5]);
    expect([899, 900]).toContain(await comeAgain(900));
    route({});
    const load = { table: "users", tables: 3, tables_done: 1, rows: 5, rows_expected: null };
    const loading = await engine((request, response) => {
      const admin = createHmac("sha256", SECRET).update(`admin ${ID}-2 1`).digest("base64url");
      if (request.headers.authorization !== `Bearer ${admin}`) return void response.writeHead(401).end("{}");
      response.writeHead(503).end(JSON.stringify(healthOf(load)));
    });
    route({ closed: LOADING, loading: loading.target });
    const stranger = await ask();
    expect([stranger.headers.get("retry-after"), await stranger.json()]).toEqual([
      "2",
      expect.not.objectContaining({ progress: expect.anything() }),
    ]);
    expect(await (await ask(withKey)).json()).toMatchObject({ code: "loading", progress: load });
  });

  test("is woken once by all who have a key, who wait and are answered; by nobody else", async () => {
    const { route, ask, said, url } = await startProxy({ wakeMs: 5_000 });
    route({
      wakes: true,
      keys: [
        { id: "web", expires_at: null },
        { id: "old", expires_at: Date.now() - 1 },
      ],
    });
    for (const authorization of [
      "",
      "Bearer x",
      keyOf("web", "another"),
      keyOf("none"),
      keyOf("old"),
      `${keyOf("web")}x`,
    ])
      expect((await ask({ headers: { authorization } })).status).toBe(401);
    for (const path of ["/health", "/metrics"]) expect((await fetch(url + path, withKey)).status).toBe(503);
    expect(said).toEqual([]);
    const asked = Array.from({ length: 25 }, () => ask(withKey));
    await eventually(() => said.length > 0, "it is wanted");
    await wait(200);
    expect(said).toEqual([{ id: ID, waits: true }]);
    const { target } = await engine(async (request, response) => response.end(await textOf(request)));
    route({ closed: LOADING, wakes: true, loading: target });
    await wait(100);
    route({ target });
    expect(await Promise.all(asked.map(async (one) => (await one).status))).toEqual(Array(25).fill(200));
    expect(said).toEqual([{ id: ID, waits: true }]);
  });

  test("who asks with a key keeps it awake, and that is not said of each query; nobody else does", async () => {
    const { route, ask, said, url } = await startProxy();
    const { target } = await engine((_request, response) => response.end("[]"));
    route({ target });
    await ask(withKey);
    route({ target, tells: true });
    await ask();
    await ask({ headers: { authorization: keyOf("none") } });
    await fetch(`${url}/health`, withKey);
    expect(said).toEqual([]);
    for (let i = 0; i < 20; i++) await ask(withKey);
    expect(said).toEqual([{ id: ID, waits: false }]);
  });

  test("when it is not there in time, or its user pauses it meanwhile, whoever waits is told", async () => {
    const { route, ask, said } = await startProxy({ wakeMs: 400 });
    route({ wakes: true });
    const late = await ask(withKey);
    expect([late.status, late.headers.get("retry-after")]).toEqual([503, "60"]);
    const waiting = ask(withKey);
    await wait(100);
    route({ wakes: false, tells: false });
    expect((await waiting).status).toBe(503);
    expect(said).toEqual([{ id: ID, waits: true }]);
  });

  test("more than so many do not wait", async () => {
    const { route, ask } = await startProxy({ wakeMs: 4_000 });
    route({ wakes: true });
    const since = performance.now();
    const all = await Promise.all(
      Array.from({ length: 300 }, async () => {
        const response = await ask(withKey);
        await response.text();
        return [response.status, performance.now() - since] as const;
      }),
    );
    expect(new Set(all.map(([status]) => status))).toEqual(new Set([503]));
    expect(all.filter(([, ms]) => ms < 3_500).length).toBeGreaterThanOrEqual(300 - 256);
  });
});

function healthOf(load: unknown) {
  const replication = {
    state: "starting",
    mode: "poll",
    position: null,
    age_ms: null,
    reason: null,
    resyncs: 0,
    transactions: 0,
  };
  return {
    ...{ state: "loading", build: "b", snapshot_id: 0, load, rows: {}, drift: [], replication, failure: null },
    ...{ last_query_at: null, memory: { used_mb: 1, limit_mb: 9 } },
  };
}
