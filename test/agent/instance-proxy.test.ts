// The proxy of a host's instances, in this process, between real callers and real HTTP servers in the place of engines.
import { type ChildProcess, spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { createServer, type IncomingMessage, type RequestListener, type Server } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import type { InstanceRoute } from "../../agent/instance-proxy/message.ts";
import { InstanceProxy } from "../../agent/instance-proxy/proxy.ts";
import { Routes } from "../../agent/instance-proxy/routes.ts";
import { Targets } from "../../agent/instance-proxy/target.ts";
import { eventually } from "./workload.ts";

const ID = "inst_00000000000000000000000000";
const SECRET = "the secret of its keys";
const keyOf = (id: string, secret = SECRET): string =>
  `Bearer rxk_${id}.${createHmac("sha256", secret).update(id).digest("base64url")}`;

const PAUSED = { code: "paused", detail: "paused", retry_after_s: 60, soon: false } as const;
const LOADING = { code: "loading", detail: "it loads", retry_after_s: 2, soon: false } as const;

async function start(options: { wakeMs?: number; soonMs?: number } = {}) {
  const targets = new Targets();
  const routes = new Routes((named) => targets.keep(named));
  const wanted: string[] = [];
  const proxy = new InstanceProxy({ routes, targets, wanted: (id) => wanted.push(id), ...options });
  const port = await listening(proxy.http);
  onTestFinished(() => {
    proxy.http.closeAllConnections();
    proxy.http.close();
  });
  const route = (over: Partial<InstanceRoute>): void =>
    routes.replace([
      {
        ...{ instance_id: ID, key_secret: SECRET, keys: [{ id: "web", expires_at: null }] },
        ...{ target: null, loading: null, closed: PAUSED, wakes: false },
        ...over,
      },
    ]);
  const url = `http://127.0.0.1:${port}/${ID}`;
  const ask = (over: RequestInit & { path?: string } = {}): Promise<Response> =>
    fetch(url + (over.path ?? "/query"), { method: "POST", body: "users { id }", ...over });
  return { targets, routes, route, wanted, proxy, port, url, ask };
}

async function listening(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

async function engine(answer: RequestListener, generation = 1) {
  const server = createServer(answer);
  const port = await listening(server);
  const end = () => {
    server.closeAllConnections();
    server.close();
  };
  onTestFinished(end);
  return { server, end, target: { workload_id: `${ID}-2`, generation, port } };
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of request) text += String(chunk);
  return text;
}

const withKey = { headers: { authorization: keyOf("web") } };
const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe("what is asked", () => {
  test("goes to the engine as it is, and its answer comes back as it is", async () => {
    const { route, ask, port } = await start();
    const { target } = await engine(async (request, response) => {
      const { method, url, headers } = request;
      response.writeHead(207, {
        "x-snapshot-id": "7",
        "set-cookie": ["a=1", "b=2"],
        connection: "x-hop",
        "x-hop": "1",
      });
      response.end(JSON.stringify({ method, url, headers, body: await textOf(request) }));
    });
    route({ target });
    const response = await ask({ headers: { "max-staleness": "5", authorization: "Bearer x", te: "trailers" } });
    expect([response.status, response.headers.get("x-snapshot-id"), response.headers.getSetCookie()]).toEqual([
      207,
      "7",
      ["a=1", "b=2"],
    ]);
    const seen = (await response.json()) as { headers: Record<string, string> };
    expect(seen).toMatchObject({ method: "POST", url: "/query", body: "users { id }" });
    expect(seen.headers).toMatchObject({ "max-staleness": "5", authorization: "Bearer x" });
    expect([seen.headers.te, seen.headers.host]).toEqual([undefined, `127.0.0.1:${target.port}`]);
    // At a name of its own, as behind a wildcard of DNS.
    const named = await raw(
      port,
      `GET /health?a=1 HTTP/1.1\r\nHost: ${ID.replace("_", "-")}.example.com\r\nConnection: close\r\n\r\n`,
    );
    expect(named).toContain('"url":"/health?a=1"');
  });

  test("is refused where it leads nowhere, or steers the engine", async () => {
    const { route, ask, url } = await start();
    const { target } = await engine((_request, response) => response.end("reached"));
    route({ target });
    const refused = async (method: string, path: string) => {
      const response = await fetch(url + path, { method });
      return [response.status, ((await response.json()) as { code: string }).code];
    };
    expect(await refused("PUT", "/keys")).toEqual([404, "not_found"]);
    expect(await refused("POST", "/reload")).toEqual([404, "not_found"]);
    expect(await refused("POST", "/pause-replication")).toEqual([404, "not_found"]);
    expect(await refused("GET", "/query")).toEqual([405, "method_not_allowed"]);
    expect(await refused("GET", "")).toEqual([404, "not_found"]);
    expect((await fetch(`${url.replace(ID, "inst_other")}/query`, { method: "POST" })).status).toBe(404);
    expect(await (await ask()).text()).toBe("reached");
  });

  test("a body that is too large is refused whether its length is said or not, and the connection goes on", async () => {
    const { route, ask, port } = await start();
    let reached = 0;
    const { target } = await engine((_request, response) => {
      reached++;
      response.end("[]");
    });
    route({ target });
    const large = "x".repeat(65 * 1024);
    const [known, chunked] = [
      await ask({ body: large }),
      await ask({ body: streamOf(large), duplex: "half" } as RequestInit),
    ];
    expect([known.status, chunked.status]).toEqual([413, 413]);
    const two = await raw(
      port,
      `POST /${ID}/query HTTP/1.1\r\nHost: a\r\nContent-Length: ${large.length}\r\n\r\n${large}POST /${ID}/query HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx`,
    );
    expect(two.match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 413", "HTTP/1.1 200"]);
    expect(reached).toBe(1);
    // Endless: read up to a point, answered, and cut.
    const endless = await ask({
      body: streamOf(
        ..."y"
          .repeat(20)
          .split("")
          .map((one) => one.repeat(1024 ** 2)),
      ),
      duplex: "half",
    } as RequestInit).then(
      ({ status }) => status,
      () => "cut",
    );
    expect([413, "cut"]).toContain(endless);
  });

  test("pipelined requests are answered in their order; oversized headers and what is not HTTP are refused", async () => {
    const { route, port } = await start();
    const { target } = await engine(async (request, response) => {
      const body = await textOf(request);
      // The first takes longest.
      await wait(40 - 10 * Number(body));
      response.end(body);
    });
    route({ target });
    const one = (body: string, last: string) =>
      `POST /${ID}/query HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n${last}\r\n${body}`;
    const answers = await raw(port, one("0", "") + one("1", "") + one("2", "") + one("3", "Connection: close\r\n"));
    expect(
      answers
        .split("HTTP/1.1 200 OK")
        .slice(1)
        .map((answer) => answer.split("\r\n").filter(Boolean).at(-2)),
    ).toHaveLength(4);
    expect([...answers.matchAll(/\r\n\r\n(?:1\r\n)?(\d)/g)].map(([, digit]) => digit)).toEqual(["0", "1", "2", "3"]);
    expect(await raw(port, `GET /${ID}/health HTTP/1.1\r\nHost: a\r\nX: ${"x".repeat(20_000)}\r\n\r\n`)).toContain(
      " 431 ",
    );
    expect(await raw(port, "what is this\r\n\r\n")).toContain(" 400 ");
    const both = `POST /${ID}/query HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /secret`;
    expect(await raw(port, both)).toContain(" 400 ");
  });
});

describe("engines that come and go", () => {
  test("under load a switch is seen by nobody, and the old engine has answered everything before it is stopped", async () => {
    const { route, targets, ask } = await start();
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
    for (let generation = 2; generation <= 6; generation++) {
      await wait(150);
      const next = await engine(slow(String(generation)), generation);
      // Whichever is heard first: that the old one is to go, or where the new one is.
      const swap = () => route({ target: next.target });
      if (generation % 2 === 0) swap();
      else setTimeout(swap, 30);
      await targets.retire(current.target, 5_000);
      current.end();
      current = next;
    }
    await wait(100);
    isOver = true;
    await Promise.all(callers);
    expect(failures).toEqual([]);
    expect(count).toBeGreaterThan(200);
    expect([...answered.keys()].sort()).toEqual(["1", "2", "3", "4", "5", "6"]);
  });

  test("killed with queries under way, they are asked of the next one; without a key nobody waits", async () => {
    const { route, ask } = await start({ soonMs: 5_000 });
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
    const { route, ask } = await start();
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
    const { route, ask } = await start();
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
    const { route, ask } = await start();
    const { target, server } = await engine((_request, response) => response.end("[]"));
    server.keepAliveTimeout = 1;
    route({ target });
    for (let i = 0; i < 200; i++) {
      expect((await ask(withKey)).status).toBe(200);
      if (i % 10 === 0) server.closeIdleConnections();
    }
  });

  test("for the moment in which a route is replaced its callers wait; when it does not come back it is not known any more", async () => {
    const { route, routes, ask } = await start();
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

describe("callers that are slow", () => {
  test("one that takes a large answer slowly holds the engine only until it is here, and then slows it down", async () => {
    const { route, port } = await start();
    let written = 0;
    let isDone = false;
    const { target } = await engine(async (_request, response) => {
      const piece = Buffer.alloc(64 * 1024, 97);
      for (let i = 0; i < 800; i++) {
        written += piece.length;
        if (!response.write(piece)) await new Promise((resolve) => response.once("drain", resolve));
      }
      isDone = true;
      response.end();
    });
    route({ target });
    const socket = connect(port, "127.0.0.1");
    onTestFinished(() => void socket.destroy());
    socket.pause();
    socket.write(`POST /${ID}/query HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx`);
    await wait(500);
    const stopped = written;
    await wait(300);
    // What both kernels keep, and our MiB; not the 50 MiB that there are.
    expect([isDone, written === stopped, stopped < 30 * 1024 ** 2]).toEqual([false, true, true]);
    let got = 0;
    socket.on("data", (chunk) => {
      got += chunk.length;
    });
    socket.resume();
    await new Promise((resolve) => socket.once("close", resolve));
    expect(got).toBeGreaterThan(800 * 64 * 1024);
    expect(isDone).toBe(true);
  });

  test("one that sends its request byte by byte reaches no engine, and keeps nobody else waiting", async () => {
    const { route, ask, port } = await start();
    let reached = 0;
    const { target } = await engine((_request, response) => {
      reached++;
      response.end("[]");
    });
    route({ target });
    const slow: Socket[] = Array.from({ length: 50 }, (_, i) => {
      const socket = connect(port, "127.0.0.1");
      socket.on("error", () => undefined);
      socket.resume();
      socket.write(
        i % 2 === 0 ? `POST /${ID}/que` : `POST /${ID}/query HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx`,
      );
      return socket;
    });
    onTestFinished(() => slow.forEach((socket) => void socket.destroy()));
    for (let i = 0; i < 20; i++) expect((await ask()).status).toBe(200);
    expect(reached).toBe(20);
    // Cut off by the server's own times; those of headers are the shorter ones.
    await eventually(
      () => slow.filter((_, i) => i % 2 === 0).every(({ closed }) => closed),
      "they are cut off",
      15_000,
    );
  }, 30_000);

  test("when a caller has gone, the engine need not go on", async () => {
    const { route, url } = await start();
    let isAborted = false;
    const { target } = await engine((request) => {
      request.on("close", () => {
        isAborted = true;
      });
    });
    route({ target });
    const caller = new AbortController();
    const asked = fetch(`${url}/query`, { method: "POST", body: "x", signal: caller.signal }).catch(() => "gone");
    await wait(100);
    caller.abort();
    expect(await asked).toBe("gone");
    await eventually(() => isAborted, "the engine hears of it");
  });
});

describe("an instance without an engine", () => {
  test("says why, and when to come again; with a key also how far it is", async () => {
    const { route, ask, url } = await start();
    route({});
    const paused = await ask();
    expect([paused.status, paused.headers.get("retry-after"), paused.headers.get("content-type")]).toEqual([
      ...[503, "60", "application/problem+json"],
    ]);
    expect(await paused.json()).toEqual({
      ...{ type: "/problems/paused", title: "paused", status: 503, code: "paused", detail: "paused" },
    });
    expect((await fetch(`${url}/health`)).status).toBe(503);
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
    const { route, ask, wanted, url } = await start({ wakeMs: 5_000 });
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
    expect(wanted).toEqual([]);
    const asked = Array.from({ length: 25 }, () => ask(withKey));
    await eventually(() => wanted.length > 0, "it is wanted");
    await wait(200);
    expect(wanted).toEqual([ID]);
    const { target } = await engine(async (request, response) => response.end(await textOf(request)));
    route({ closed: LOADING, wakes: true, loading: target });
    await wait(100);
    route({ target });
    expect(await Promise.all(asked.map(async (one) => (await one).status))).toEqual(Array(25).fill(200));
    expect(wanted).toEqual([ID]);
  });

  test("when it is not there in time, or its user pauses it meanwhile, whoever waits is told", async () => {
    const { route, ask, wanted } = await start({ wakeMs: 400 });
    route({ wakes: true });
    const late = await ask(withKey);
    expect([late.status, late.headers.get("retry-after")]).toEqual([503, "60"]);
    const waiting = ask(withKey);
    await wait(100);
    route({ wakes: false });
    expect((await waiting).status).toBe(503);
    expect(wanted).toEqual([ID]);
  });

  test("more than so many do not wait", async () => {
    const { route, ask } = await start({ wakeMs: 4_000 });
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

const streamOf = (...texts: string[]): ReadableStream =>
  new ReadableStream({
    start(controller) {
      for (const text of texts) controller.enqueue(new TextEncoder().encode(text));
      controller.close();
    },
  });

/** Everything that a server answers to these bytes until it closes the connection. */
function raw(port: number, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1");
    let text = "";
    socket.on("data", (chunk) => {
      text += String(chunk);
    });
    socket.on("error", reject);
    socket.on("close", () => resolve(text));
    socket.write(bytes);
  });
}

/** An engine in a process of its own that takes queries and does not answer them. */
async function program(rest: string): Promise<{
  child: ChildProcess;
  target: { workload_id: string; port: number };
  count: () => Promise<number>;
}> {
  const source = `let n = 0; const s = require("node:http").createServer((q, r) => q.url === "/count" ? r.end(String(n)) : n++);
    s.listen(0, "127.0.0.1", () => console.log(s.address().port)); ${rest}`;
  const child = spawn(process.execPath, ["-e", source], { stdio: ["ignore", "pipe", "inherit"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  const port = await new Promise<number>((resolve) => child.stdout?.once("data", (text) => resolve(Number(text))));
  const count = async () => Number(await (await fetch(`http://127.0.0.1:${port}/count`)).text());
  return { child, target: { workload_id: `${ID}-2`, port }, count };
}
