// What callers of an instance ask through the proxy of its host, and what comes back.
import { connect, type Socket } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import { engine, ID, raw, startProxy, textOf, wait } from "./instance-proxy-site.ts";
import { eventually } from "./workload.ts";

describe("what is asked", () => {
  test("goes to the engine as it is, and its answer comes back as it is", async () => {
    const { route, ask, port } = await startProxy();
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

  test("waits where nobody has told yet which routes there are", async () => {
    const { target } = await engine((_request, response) => response.end("[]"));
    const { route, url, ask } = await startProxy();
    const [known, unknown] = [ask(), fetch(`${url.replace(ID, "inst_other")}/query`, { method: "POST" })];
    await wait(200);
    route({ target });
    expect((await Promise.all([known, unknown])).map(({ status }) => status)).toEqual([200, 404]);
  });

  test("is refused where it leads nowhere, or steers the engine", async () => {
    const { route, ask, url } = await startProxy();
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
    const { route, ask, port } = await startProxy();
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
    const { route, port } = await startProxy();
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

describe("callers that are slow", () => {
  test("one that takes a large answer slowly holds the engine only until it is here, and then slows it down", async () => {
    const { route, port } = await startProxy();
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
    const { route, ask, port } = await startProxy();
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
    const { route, url } = await startProxy();
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

const streamOf = (...texts: string[]): ReadableStream =>
  new ReadableStream({
    start(controller) {
      for (const text of texts) controller.enqueue(new TextEncoder().encode(text));
      controller.close();
    },
  });
