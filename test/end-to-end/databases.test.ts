// Databases as a user meets them: ordinary drivers, through the gateway, to a real PostgreSQL that is not there until somebody comes.
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { DatabaseView } from "../../contract/database.ts";
import { DatabaseSite } from "./database-site.ts";

let site: DatabaseSite;
beforeAll(async () => {
  site = await DatabaseSite.start();
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
    console.log(JSON.stringify(awake.last_start));
    await site.end(first);
    await site.state(made.id, "stopped");
    const again = await site.connect(made);
    expect((await again.query("SELECT n FROM t")).rows).toEqual([{ n: 7 }]);
    const view = await site.view(made.id);
    console.log(JSON.stringify(view.last_start));
    expect([view.state, view.term, view.last_start?.rung]).toEqual(["ready", 2, 3]);
    await site.end(again);
    await site.state(made.id, "stopped");
    rmSync(join(site.folder("one", made.id), "pgdata"), { recursive: true, force: true });
    const restored = await site.connect(made);
    expect((await restored.query("SELECT n FROM t")).rows).toEqual([{ n: 7 }]);
    const third: DatabaseView = await site.view(made.id);
    console.log(JSON.stringify(third.last_start));
    expect(third.last_start?.rung).toBe(7);
    await site.end(restored);
    const { status } = await site.cluster.client.send("DELETE", `/databases/${made.id}`);
    expect(status).toBe(204);
    await expect
      .poll(async () => (await site.cluster.client.send("GET", `/databases/${made.id}`)).status, { timeout: 20_000 })
      .toBe(404);
    expect(existsSync(site.folder("one", made.id))).toBe(false);
  });
});
