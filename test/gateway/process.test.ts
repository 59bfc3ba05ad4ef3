import { connect, createServer, type Socket } from "node:net";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connectionsByOpenFiles } from "../../gateway/open-files.ts";
import { parseReport } from "../../postgres/wire/message.ts";
import { requires } from "../requires.ts";
import { type GatewayProcess, startGateway } from "./gateway-process.ts";
import { type ServedDirectory, serveDirectory } from "./served-directory.ts";
import { eventually, PASSWORD, refusalOf, Site } from "./site.ts";

const postgres = await requires("postgres");

describe.skipIf(!postgres.available)("lamplighter gateway", () => {
  let site: Site;
  let served: ServedDirectory;
  const started: GatewayProcess[] = [];
  beforeAll(async () => {
    site = await Site.create(postgres.path);
    served = await serveDirectory(site.directory);
  });
  afterAll(async () => {
    for (const { child } of started) child.kill("SIGKILL");
    await served.close();
    await site.close();
  });
  const gateway = async (...more: string[]) => {
    const one = await startGateway(served, site.folder, ...more);
    started.push(one);
    return one;
  };
  const metrics = async ({ metricsPort }: GatewayProcess): Promise<Record<string, number>> => {
    const url = `http://127.0.0.1:${metricsPort}/metrics`;
    return (await (await fetch(url, { headers: { accept: "application/json" } })).json()) as Record<string, number>;
  };
  const secure = { ssl: { rejectUnauthorized: false } };

  test("wakes a database over HTTP, and by SIGTERM ends when transactions have", async () => {
    const one = await gateway();
    const client = await site.connect(one, secure);
    let ended = "";
    client.on("error", (error) => {
      ended ||= (error as pg.DatabaseError).code ?? error.message;
    });
    expect((await refusalOf(site.connect(one))).code).toBe("28000");
    await client.query("BEGIN");
    one.child.kill("SIGTERM");
    await eventually(() => one.output().includes("closing"));
    expect((await client.query("SELECT 1 AS one")).rows).toEqual([{ one: 1 }]);
    expect((await fetch(`http://127.0.0.1:${one.metricsPort}/health`)).status).toBe(503);
    await client.query("COMMIT").catch(() => {});
    expect(await one.exited).toBe(0);
    expect(ended).toBe("57P01");
    expect(one.output()).not.toMatch(/battery|SCRAM-SHA-256\$|lamp_gateway/);
    await eventually(() => site.database.leases.size === 0);
  });

  test("its metrics are Prometheus' text, or JSON", async () => {
    const one = await gateway();
    await (await site.connect(one, secure)).end();
    await refusalOf(site.connect(one, { ...secure, password: "wrong" }));
    const text = await (await fetch(`http://127.0.0.1:${one.metricsPort}/metrics`)).text();
    expect(text).toContain("# TYPE lamplighter_gateway_sessions_total counter\nlamplighter_gateway_sessions_total 1\n");
    expect(text).toContain('lamplighter_gateway_refused_total{code="28P01"} 1\n');
    expect(await metrics(one)).toMatchObject({ sessions_total: 1, logins_failed_total: 1, leases: 1 });
    expect(await (await fetch(`http://127.0.0.1:${one.metricsPort}/health`)).json()).toEqual({ status: "ok" });
    one.child.kill("SIGTERM");
    expect(await one.exited).toBe(0);
  });

  test("a cut line to the control plane is dialled again, and nobody notices", async () => {
    const one = await gateway();
    const client = await site.connect(one, secure);
    served.cut();
    await eventually(() => site.database.leases.size === 0 || one.output().includes("dialling again"));
    expect((await client.query("SELECT 2 AS two")).rows).toEqual([{ two: 2 }]);
    const heard = site.database.heard.length;
    await eventually(() => site.database.heard.slice(heard).some(({ kind }) => kind === "lease"));
    expect(await site.database.stopIfIdle()).toBe("abandoned");
    await client.end();
    one.child.kill("SIGTERM");
    await one.exited;
  });

  test("killed in the middle of a transaction: it is rolled back, and another gateway serves", async () => {
    const [one, two] = await Promise.all([gateway(), gateway()]);
    const client = await site.connect(one, secure);
    await client.query("CREATE TABLE half (n int)");
    await client.query("BEGIN; INSERT INTO half VALUES (1)");
    one.child.kill("SIGKILL");
    await one.exited;
    const other = await site.connect(two, secure);
    expect((await other.query("SELECT count(*)::int AS n FROM half")).rows).toEqual([{ n: 0 }]);
    await other.query("DROP TABLE half");
    await other.end();
    two.child.kill("SIGTERM");
    await two.exited;
  });

  test("what it cannot start with is said in one line, with an exit code", async () => {
    const failure = (token: string, ...more: string[]) =>
      startGateway({ url: served.url, token }, site.folder, ...more).then(
        () => "started",
        (error: Error) => error.message,
      );
    expect(await failure("lamp_wrong")).toMatch(/answers 401 to a lookup: the token is not good for it\n$/);
    const taken = createServer();
    const port = await new Promise<number>((done) =>
      taken.listen(0, "127.0.0.1", () => done((taken.address() as { port: number }).port)),
    );
    expect(await failure(served.token, "--listen", `127.0.0.1:${port}`)).toContain(
      `port ${port} of 127.0.0.1 is taken`,
    );
    taken.close();
    const nothing = { url: `http://127.0.0.1:${port}`, token: "lamp_x" };
    const alone = await startGateway(nothing, site.folder);
    expect(alone.output()).toContain("no answer to a lookup: connect ECONNREFUSED");
    expect((await refusalOf(site.connect(alone, secure))).code).toBe("57P03");
    alone.child.kill("SIGTERM");
    expect(await alone.exited).toBe(0);
  });

  test("few file descriptors: who finds no room is told so, and nobody else notices", async () => {
    const one = await gateway("--open-files", "120");
    expect(one.output()).toContain("may open files for 28 sessions only");
    const client = await site.connect(one, secure);
    const told: (string | undefined)[] = [];
    const many = Array.from({ length: 300 }, () => {
      const socket = connect({ port: one.port, host: "127.0.0.1" });
      socket.on("error", () => {});
      socket.on("data", (chunk: Buffer) => told.push(parseReport(chunk.subarray(5)).C));
      return socket;
    });
    await eventually(() => told.length >= 200);
    expect(new Set(told)).toEqual(new Set(["53300"]));
    expect((await client.query("SELECT 1 AS one")).rows).toEqual([{ one: 1 }]);
    for (const socket of many) socket.destroy();
    await client.end();
    await eventually(async () => (await metrics(one)).connections === 0);
    await (await site.connect(one, secure)).end();
    one.child.kill("SIGTERM");
    expect(await one.exited).toBe(0);
  });

  test("10,000 sockets that say nothing: who has something to say is served, and they end in time", async () => {
    const one = await gateway("--clients", "12000");
    const before = (await metrics(one)).resident_bytes as number;
    // Of one address there may be 2,000 at once.
    const addresses = process.platform === "linux" ? 6 : 1;
    const idle: Socket[] = [];
    const said: Record<string, number> = {};
    const count = Math.min(addresses * 1_700, connectionsByOpenFiles() - 500);
    for (let n = 0; n < count; n += 200) {
      const batch = Array.from({ length: Math.min(200, count - n) }, (_, i) => {
        const localAddress = `127.0.0.${((n + i) % addresses) + 1}`;
        const socket = connect({ port: one.port, host: "127.0.0.1", localAddress });
        idle.push(socket);
        socket.on("error", () => {});
        socket.on("data", (chunk: Buffer) => {
          const code = parseReport(chunk.subarray(5)).C ?? "";
          said[code] = (said[code] ?? 0) + 1;
        });
        return new Promise((done) => socket.once("connect", done).once("error", done));
      });
      await Promise.all(batch);
    }
    const { connections, logins, resident_bytes } = await metrics(one);
    expect(connections).toBeGreaterThan(count * 0.6);
    expect(logins).toBe(connections);
    expect(((resident_bytes as number) - before) / (connections as number)).toBeLessThan(20_000);
    const client = await site.connect(one, { ...secure, password: PASSWORD });
    const begun = performance.now();
    for (let n = 0; n < 100; n++) await client.query("SELECT 1");
    expect(performance.now() - begun).toBeLessThan(3_000);
    await client.end();
    await eventually(() => idle.every((socket) => socket.closed), 40_000);
    expect(Object.keys(said)).toEqual(["57014"]);
    expect((await metrics(one)).connections).toBe(0);
    one.child.kill("SIGTERM");
    expect(await one.exited).toBe(0);
  }, 90_000);
});
