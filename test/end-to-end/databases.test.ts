// Databases as a user meets them: ordinary drivers, through the gateway, to a real PostgreSQL that is not there until somebody comes.
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Client } from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { DatabaseView } from "../../contract/database.ts";
import { DatabaseSite, type Made } from "./database-site.ts";

let site: DatabaseSite;
beforeAll(async () => {
  site = await DatabaseSite.start({ hosts: [{ name: "one", runtimes: ["postgres"], labels: { zone: "eu" } }] });
});
afterAll(() => site?.close());

describe("a database", () => {
  test("is woken by a connection, sleeps when nobody is there, and has the row when it wakes again", async () => {
    const made = await site.create({ name: "shop" });
    expect([made.state, made.current_scale, made.target_scale, made.term]).toEqual(["stopped", 0, 0, 0]);
    const first = await site.connect(made);
    await first.query("CREATE TABLE t (n int); INSERT INTO t VALUES (7)");
    const awake = await site.view(made.id);
    expect([awake.state, awake.term, awake.active_connections]).toEqual(["ready", 1, 1]);
    expect(awake.awake_because[0]?.clients[0]?.application_name).toBe("test");
    expect(awake.last_start?.cause).toBe("connection");
    await site.end(first);
    await site.state(made.id, "stopped");
    const again = await site.connect(made);
    expect((await again.query("SELECT n FROM t")).rows).toEqual([{ n: 7 }]);
    const view = await site.view(made.id);
    expect([view.state, view.term, view.last_start?.rung]).toEqual(["ready", 2, 3]);
    await site.end(again);
    await site.state(made.id, "stopped");
    rmSync(join(site.folder("one", made.id), "pgdata"), { recursive: true, force: true });
    const restored = await site.connect(made);
    expect((await restored.query("SELECT n FROM t")).rows).toEqual([{ n: 7 }]);
    const third: DatabaseView = await site.view(made.id);
    expect(third.last_start?.rung).toBe(7);
    await site.end(restored);
    const { status } = await site.cluster.client.send("DELETE", `/databases/${made.id}`);
    expect(status).toBe(204);
    await expect
      .poll(async () => (await site.cluster.client.send("GET", `/databases/${made.id}`)).status, { timeout: 20_000 })
      .toBe(404);
    expect(existsSync(site.folder("one", made.id))).toBe(false);
  });

  test("keeps two passwords valid while it runs, and a copy of it is as it was at a moment", async () => {
    const placement = { labels: { zone: "eu" } };
    const made = await site.create({ name: "copied", idle_timeout: 60, placement });
    const first = await site.connect(made);
    await first.query("CREATE TABLE t (n int); INSERT INTO t VALUES (1)");
    const answer = await site.cluster.client.send("POST", `/databases/${made.id}/credentials`);
    const { password } = JSON.parse(answer.text) as { password: string };
    for (const each of [made.password, password]) {
      const client = await site.connect({ ...made, password: each });
      expect((await client.query("SELECT current_user AS u, n FROM t")).rows).toEqual([{ u: made.role, n: 1 }]);
      await site.end(client);
    }
    await expect(site.connect({ ...made, password: "wrong" })).rejects.toMatchObject({ code: "28P01" });
    const before = Date.now() + 200;
    await new Promise((resolve) => setTimeout(resolve, 600));
    await first.query("DELETE FROM t");
    await expect.poll(async () => (await site.view(made.id)).restorable_since, { timeout: 10_000 }).not.toBeNull();
    const { restorable_since: since } = await site.view(made.id);
    expect(Date.parse(since as string)).toBeGreaterThan(Date.parse(made.created_at));
    for (const time of [Date.now() + 60_000, Date.parse(since as string) - 1]) {
      const body = { name: "copy_of_never", time: new Date(time).toISOString() };
      const { status, text } = await site.cluster.client.send("POST", `/databases/${made.id}/restore`, { body });
      expect([status, (JSON.parse(text) as { violations: unknown[] }).violations.length]).toEqual([422, 1]);
    }
    const restored = await site.cluster.client.send("POST", `/databases/${made.id}/restore`, {
      body: { name: "copy", time: new Date(before).toISOString() },
    });
    const copy = JSON.parse(restored.text) as Made;
    expect(restored.status, restored.text).toBe(201);
    const reader = await site.connect(copy);
    expect((await reader.query("SELECT n FROM t")).rows).toEqual([{ n: 1 }]);
    expect((await first.query("SELECT n FROM t")).rows).toEqual([]);
    await site.end(reader);
    // As it is now, which is past the end of its log.
    const answered = await site.cluster.client.send("POST", `/databases/${made.id}/restore`, {
      body: { name: "copy_of_now" },
      headers: { prefer: "wait=25" },
    });
    const now = JSON.parse(answered.text) as Made;
    expect([answered.status, now.state, now.placement]).toEqual([201, "ready", placement]);
    const session = await site.connect(now);
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    expect((await session.query("SELECT n FROM t")).rows).toEqual([]);
    await site.end(session);
    const events = await site.cluster.client.json<{ reason: string }[]>(`/databases/${now.id}/events`);
    expect(events.map(({ reason }) => reason)).not.toContain("writer_ended");
    expect((await site.view(now.id)).term).toBe(1);
    await site.end(first);
  });

  test("one start for a crowd; a writer that is killed under it comes back with every commit", async () => {
    const made = await site.create({ name: "crowd", idle_timeout: 60 });
    const clients = await Promise.all(Array.from({ length: 40 }, () => site.connect(made)));
    expect((await site.view(made.id)).term).toBe(1);
    await clients[0]?.query("CREATE TABLE t (n int PRIMARY KEY)");
    const acknowledged: number[] = [];
    const write = async (client: Client, i: number): Promise<void> => {
      for (let n = 0; n < 200; n++) {
        const value = i * 1000 + n;
        await client.query("INSERT INTO t VALUES ($1)", [value]);
        acknowledged.push(value);
      }
    };
    const writing = Promise.allSettled(clients.slice(1, 9).map(write));
    await new Promise((resolve) => setTimeout(resolve, 150));
    await site.killWriter("one", made.id);
    await writing;
    const after = await site.connect(made);
    const rows = (await after.query("SELECT n FROM t")).rows as { n: number }[];
    const kept = new Set(rows.map(({ n }) => n));
    expect(acknowledged.length).toBeGreaterThan(0);
    expect(acknowledged.filter((n) => !kept.has(n))).toEqual([]);
    expect((await site.view(made.id)).term).toBeGreaterThan(1);
    for (const client of [...clients, after]) await site.end(client).catch(() => {});
  });

  test("goes on while the control plane is killed and started again, and while the agent is", async () => {
    const made = await site.create({ name: "steady", idle_timeout: 5 });
    const client = await site.connect(made);
    await client.query("CREATE TABLE t (n int)");
    await site.cluster.killPlane();
    await client.query("INSERT INTO t VALUES (1)");
    await site.cluster.startPlane();
    await site.cluster.noteBoots();
    await site.cluster.killAgent("one");
    await client.query("INSERT INTO t VALUES (2)");
    site.cluster.startAgent("one");
    await site.cluster.ready("one");
    await new Promise((resolve) => setTimeout(resolve, 21_000));
    await client.query("INSERT INTO t VALUES (3)");
    expect((await site.view(made.id)).term).toBe(1);
    await site.end(client);
    await site.state(made.id, "stopped");
    const again = await site.connect(made);
    expect((await again.query("SELECT n FROM t ORDER BY n")).rows).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }]);
    expect((await site.view(made.id)).last_start?.rung).toBe(3);
    await site.end(again);
  });
});
