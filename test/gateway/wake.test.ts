import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Gateway } from "../../gateway/main.ts";
import { requires } from "../requires.ts";
import { eventually, PASSWORD, refusalOf, Site } from "./site.ts";

const postgres = await requires("postgres");

describe.skipIf(!postgres.available)("waking and sleeping", () => {
  let site: Site;
  let gateway: Gateway;

  beforeAll(async () => {
    site = await Site.create(postgres.path);
    gateway = await site.gateway({ noticeMs: 200, holdMs: 5_000 });
  });
  afterAll(() => site.close());
  beforeEach(async () => {
    site.starting = () => site.cluster.start();
    await eventually(() => gateway.counters.sessions === 0 && gateway.counters.waiting === 0);
    if (site.database.status === "ready") expect(await site.database.stopIfIdle()).toBe("stopped");
    site.database.starts = 0;
    site.database.heard.length = 0;
  });

  test("the first connection wakes it, and its query is answered", async () => {
    const client = await site.connect(gateway);
    expect((await client.query("SELECT 1 AS one")).rows).toEqual([{ one: 1 }]);
    await client.end();
    expect(site.database.starts).toBe(1);
  });

  test("1,000 first connections at once are one acquire and one start", async () => {
    // PostgreSQL has room for 90 of them; the others are told so by PostgreSQL itself.
    const slow = await site.gateway({ holdMs: 30_000, loginMs: 30_000 });
    const asked = site.database.heard.length;
    site.starting = async () => {
      await eventually(() => slow.counters.waiting === 1_000, 25_000);
      await site.cluster.start();
    };
    const outcomes = await Promise.all(
      Array.from({ length: 1_000 }, () =>
        site.connect(slow).then(
          async (client) => {
            await client.query("SELECT 1");
            await client.end();
            return "served";
          },
          (error: pg.DatabaseError) => error.code ?? error.message,
        ),
      ),
    );
    expect(new Set(outcomes)).toEqual(new Set(outcomes.includes("53300") ? ["served", "53300"] : ["served"]));
    expect(site.database.starts).toBe(1);
    const acquires = site.database.heard.slice(asked).filter((frame) => frame.kind === "lease" && frame.wake);
    expect(slow.counters.wakes_total).toBe(1);
    // Said once; what follows are renewals of the same wait.
    expect(acquires.length).toBeLessThanOrEqual(3);
    expect(outcomes.filter((outcome) => outcome === "served").length).toBeGreaterThan(50);
    await slow.close(0);
  });

  test("a wrong password, an unknown role and an unknown database wake nothing and look the same", async () => {
    const failures = await Promise.all(
      [{ password: "wrong" }, { user: "nobody" }, { database: "nowhere" }, { user: "x".repeat(70) }].map((config) =>
        site.connect(gateway, config).then(
          () => ({ code: "none", message: "" }),
          ({ code, message }: pg.DatabaseError) => ({ code, message }),
        ),
      ),
    );
    for (const { code, message } of failures) {
      expect(code).toBe("28P01");
      expect(message).toMatch(/^password authentication failed for user "/);
    }
    expect(site.database.heard.filter(({ kind }) => kind !== "release")).toEqual([]);
    expect(site.database.status).toBe("stopped");
  });

  test("who waits is told so, and what is waited for", async () => {
    site.starting = async (_term, tell) => {
      tell("restoring 1.2 GB of the base backup");
      await sleep(700);
      await site.cluster.start();
    };
    const notices: string[] = [];
    const client = await site.connect(gateway, {}, (notice) => notices.push(notice.message ?? ""));
    await client.end();
    expect(notices).toEqual(["restoring 1.2 GB of the base backup"]);
  });

  test("a start that takes too long is 57P03, and goes on", async () => {
    const hasty = await site.gateway({ holdMs: 300 });
    site.starting = async () => {
      await sleep(800);
      await site.cluster.start();
    };
    expect(await refusalOf(site.connect(hasty))).toMatchObject({ code: "57P03" });
    await eventually(() => site.database.status === "ready");
    await (await site.connect(hasty)).end();
    expect(site.database.starts).toBe(1);
    await hasty.close(0);
  });

  test("a start that fails is 57P03 with the reason, and the next client tries again", async () => {
    site.starting = () => Promise.reject(new Error("the keeper does not answer"));
    expect(await refusalOf(site.connect(gateway))).toMatchObject({
      code: "57P03",
      detail: "the keeper does not answer",
    });
    site.starting = () => site.cluster.start();
    await (await site.connect(gateway)).end();
  });

  test("an agent that dies during the start: who waits is served by the next start", async () => {
    site.starting = () => new Promise(() => {});
    const connecting = site.connect(gateway);
    await eventually(() => site.database.status === "booting");
    site.starting = () => site.cluster.start();
    site.database.stopped();
    const client = await connecting;
    expect((await client.query("SELECT 1 AS one")).rows).toEqual([{ one: 1 }]);
    expect(site.database.starts).toBe(2);
    await client.end();
  });

  test("PostgreSQL that dies as soon as it has started: who waits is served by the next start", async () => {
    let tries = 0;
    site.starting = async () => {
      await site.cluster.start();
      if (++tries === 1) await site.cluster.stop("kill");
    };
    const connecting = site.connect(gateway);
    await eventually(() => site.database.heard.some((frame) => frame.kind === "lease" && frame.suspect !== null));
    site.database.stopped();
    await (await connecting).end();
    expect(site.database.starts).toBe(2);
  });

  test("a database that is in use is not stopped; an idle one is, and nobody sees 57P01", async () => {
    const client = await site.connect(gateway);
    expect(await site.database.stopIfIdle()).toBe("abandoned");
    expect((await client.query("SELECT 2 AS two")).rows).toEqual([{ two: 2 }]);
    await client.end();
    await eventually(() => gateway.counters.sessions === 0);
    expect(await site.database.stopIfIdle()).toBe("stopped");
  });

  test("a client that arrives at any moment of a conditional stop is served", async () => {
    for (let round = 0; round < 25; round++) {
      await (await site.connect(gateway)).end();
      await eventually(() => gateway.counters.sessions === 0);
      const stopping = site.database.stopIfIdle();
      await sleep(round % 13);
      const client = await site.connect(gateway);
      expect((await client.query("SELECT 3 AS three")).rows).toEqual([{ three: 3 }]);
      await stopping;
      expect((await client.query("SELECT 4 AS four")).rows).toEqual([{ four: 4 }]);
      await client.end();
      await eventually(() => gateway.counters.sessions === 0);
    }
  });

  test("several gateways: a stop needs all of them to be quiet", async () => {
    const other = await site.gateway();
    const client = await site.connect(other);
    await (await site.connect(gateway)).end();
    expect(await site.database.stopIfIdle()).toBe("abandoned");
    await client.end();
    await eventually(() => other.counters.sessions === 0 && gateway.counters.sessions === 0);
    expect(await site.database.stopIfIdle()).toBe("stopped");
    await other.close(0);
  });

  test("a newer term ends the sessions of older ones, and an older word is not believed", async () => {
    const client = await site.connect(gateway);
    const ended = new Promise<pg.DatabaseError>((done) =>
      client.on("error", (error) => done(error as pg.DatabaseError)),
    );
    const endpoint = { host: "127.0.0.1", port: site.cluster.port, tls: null };
    site.database.broadcast({ kind: "ready", term: site.database.term + 1, endpoint });
    expect((await ended).code).toBe("57P01");
    site.database.broadcast({ kind: "ready", term: site.database.term, endpoint: { ...endpoint, port: 1 } });
    await sleep(10);
    site.database.term++;
    await (await site.connect(gateway)).end();
  });

  test("without the control plane sessions go on, and new clients come in to what was known last", async () => {
    site.database.ttlMs = 300;
    site.database.renewMs = 100;
    site.database.freshMs = 0;
    const alone = await site.gateway({ lingerMs: 200 });
    const client = await site.connect(alone);
    site.directory.away = true;
    await sleep(500);
    expect((await client.query("SELECT 5 AS five")).rows).toEqual([{ five: 5 }]);
    await (await site.connect(alone)).end();
    // Once it is clear that nobody answers, nobody waits for an answer.
    const at = performance.now();
    await (await site.connect(alone)).end();
    expect(performance.now() - at).toBeLessThan(900);
    await client.end();
    // The lease is given up for want of clients; where the database was is remembered.
    await sleep(500);
    const again = await site.connect(alone);
    expect((await again.query("SELECT 6 AS six")).rows).toEqual([{ six: 6 }]);
    expect((await refusalOf(site.connect(alone, { password: "wrong" }))).code).toBe("28P01");
    site.directory.away = false;
    await again.end();
    site.database.ttlMs = 30_000;
    site.database.renewMs = 10_000;
    site.database.freshMs = 60_000;
    await alone.close(0);
  });

  test("without the control plane a writer that is gone is waited for, not taken for another", async () => {
    const alone = await site.gateway({ holdMs: 2_500 });
    await (await site.connect(alone)).end();
    site.directory.away = true;
    await site.cluster.stop("immediate");
    expect(await refusalOf(site.connect(alone))).toMatchObject({ code: "57P03" });
    site.directory.away = false;
    site.database.stopped();
    await (await site.connect(alone)).end();
    await alone.close(0);
  });

  test("while the control plane stays away nobody waits for what only it can do, and is told so", async () => {
    const alone = await site.gateway({ awayMs: 1_500, holdMs: 20_000 });
    Object.assign(site.database, { renewMs: 100, freshMs: 60_000 });
    const told = { code: "57P03", message: "the gateway cannot reach its control plane" };
    await (await site.connect(alone)).end();
    await site.database.stopIfIdle();
    // It goes away in the middle of a start.
    const started = Promise.withResolvers<void>();
    site.starting = async () => {
      await started.promise;
      await site.cluster.start();
    };
    const waiting = refusalOf(site.connect(alone));
    await eventually(() => site.database.status === "booting");
    site.directory.away = true;
    expect(await waiting).toMatchObject(told);
    const at = performance.now();
    expect(await refusalOf(site.connect(alone))).toMatchObject(told);
    expect(performance.now() - at).toBeLessThan(1_000);
    // What was started meanwhile is used as soon as it answers again.
    started.resolve();
    await eventually(() => site.database.status === "ready");
    site.directory.away = false;
    await eventually(async () => (await refusalOf(site.connect(alone))).code === "connected");

    // A PostgreSQL that has ended since it was last heard of.
    site.directory.away = true;
    await site.cluster.stop("immediate");
    expect(await refusalOf(site.connect(alone))).toMatchObject({
      ...told,
      detail: expect.stringContaining("ECONNREFUSED"),
    });
    site.directory.away = false;
    site.database.stopped();
    site.starting = () => site.cluster.start();
    site.database.renewMs = 10_000;
    await eventually(async () => (await refusalOf(site.connect(alone))).code === "connected");
    await alone.close(0);
  });

  test("an endpoint that does not answer is reported, and the next word of the control plane is followed", async () => {
    await (await site.connect(gateway)).end();
    await site.cluster.stop("immediate");
    const connecting = site.connect(gateway);
    await eventually(() => site.database.heard.some((frame) => frame.kind === "lease" && frame.suspect !== null));
    site.database.stopped();
    const client = await connecting;
    expect((await client.query("SELECT 6 AS six")).rows).toEqual([{ six: 6 }]);
    await client.end();
  });

  test("two passwords are valid at once, before and after PostgreSQL has the new one", async () => {
    const rolpassword = await site.database.rotate("v2", "the next password");
    await (await site.connect(gateway)).end().catch(() => {});
    await site.cluster.admin(`ALTER ROLE app PASSWORD '${rolpassword}'`);
    for (const password of [PASSWORD, "the next password"]) {
      const client = await site.connect(gateway, { password });
      expect((await client.query("SELECT current_user::text AS who")).rows).toEqual([{ who: "app" }]);
      await client.end();
    }
    await site.database.rotate("v3", PASSWORD).then((next) => site.cluster.admin(`ALTER ROLE app PASSWORD '${next}'`));
    await (await site.connect(gateway, { password: "the next password" })).end();
    await (await site.connect(gateway)).end();
  });

  test("a password that was changed inside PostgreSQL is told apart from a wrong one", async () => {
    await (await site.connect(gateway)).end();
    const [{ rolpassword }] = (await site.cluster.admin("SELECT rolpassword FROM pg_authid WHERE rolname = 'app'")) as [
      { rolpassword: string },
    ];
    await site.cluster.admin("ALTER ROLE app PASSWORD 'changed'");
    expect(await refusalOf(site.connect(gateway))).toMatchObject({ code: "28000" });
    await site.cluster.admin(`ALTER ROLE app PASSWORD '${rolpassword}'`);
  });

  test("limits, suspension, addresses and a deleted database have their own codes, after the password", async () => {
    const lookup = site.database.lookup;
    const refused = async (change: typeof lookup, code: string) => {
      site.database.lookup = change;
      const fresh = await site.gateway();
      expect(await refusalOf(site.connect(fresh))).toMatchObject({ code });
      expect(await refusalOf(site.connect(fresh, { password: "wrong" }))).toMatchObject({ code: "28P01" });
      await fresh.close(0);
    };
    await refused({ allowed_addresses: ["10.0.0.0/8"] }, "28000");
    await refused({ refused: "the quota is used up" }, "53400");
    await refused({ name: "gone" }, "3D000");
    site.database.lookup = { clients_most: 1 };
    const fresh = await site.gateway();
    const first = await site.connect(fresh);
    expect(await refusalOf(site.connect(fresh))).toMatchObject({ code: "53300" });
    await first.end();
    await fresh.close(0);
    site.database.lookup = lookup;
  });
});
