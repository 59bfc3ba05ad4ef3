// A database whose keepers, or what seals its secrets, cannot be had: until when it waits, and what comes of it.
import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, test, vi } from "vitest";
import { newId } from "../../contract/id.ts";
import { alarmOf, create, hostFor, reasons, restsWithout, state, stub, until, view } from "./database-world.ts";
import { SimulatedGateway as Gate } from "./simulated-gateway.ts";

const MISTYPED = { KEEPERS: "a=http://127.0.0.1:7999" };
const KEPT = { KEEPERS: "a=http://:t@h:1,b=http://:t@h:2,c=http://:t@h:3", KEEPER_QUORUM: "3" };

/** What the operator has set, as this object sees it until it is evicted. */
const withSettings = (id: string, settings: Record<string, string>) =>
  runInDurableObject(stub(id), (object) => {
    (object as unknown as { env: object }).env = { ...env, ...settings };
  });

async function createWith(settings: Record<string, string>, placement?: Record<string, string>) {
  const id = newId("database", Date.now());
  await withSettings(id, settings);
  return create({ id, ...(placement ? { placement } : {}) });
}

describe("what cannot be prepared", () => {
  afterEach(() => void vi.useRealTimers());
  const forward = async (id: string, ms: number) => {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + ms });
    await runDurableObjectAlarm(stub(id));
  };

  test("is given up after a minute by an alarm that was armed when it was made, whatever its letters do", async () => {
    const { id, reply } = await createWith(MISTYPED);
    expect(reply.ok).toBe(true);
    const due = await runInDurableObject(stub(id), (_o, c) =>
      c.storage.sql.exec<{ due_at: number }>("SELECT due_at FROM timer WHERE name = 'deadline'").toArray(),
    );
    expect(due.length).toBe(1);
    expect(Math.abs((due[0]?.due_at ?? 0) - Date.now() - 60_000)).toBeLessThan(5_000);
    expect(await alarmOf(id)).not.toBeNull();
    await forward(id, 30_000);
    expect(await state(id)).toBe("creating");
    await forward(id, 31_000);
    expect(await view(id)).toMatchObject({ state: "error", failed: { code: "not_prepared" } });
  });

  test("is said, is never started without keepers, and is prepared for the next client once it can be", async () => {
    const { placement, starts } = await hostFor();
    const { id } = await createWith(MISTYPED, placement);
    const gate = await new Gate(id).dial();
    gate.connect();
    await until(() => gate.count("waking") > 0, "whoever waits hears why");
    expect(await view(id)).toMatchObject({ state: "creating", message: expect.stringMatching(/^KEEPERS: entry 1 /) });
    for (let i = 0; i < 4; i++) {
      await forward(id, 16_000);
      const heard = gate.count("granted");
      gate.say();
      await until(() => gate.count("granted") > heard, "its lease goes on");
    }
    await until(() => gate.count("failed") > 0, "told that it came to nothing");
    // After `retry_at`, with the settings as they were; its lease is over by then.
    await forward(id, 40_000);
    await gate.dial();
    gate.say();
    await until(async () => (await state(id)) === "creating", "it is tried anew");
    await forward(id, 61_000);
    expect(await view(id)).toMatchObject({ state: "error", term: 0, failed: { code: "not_prepared" } });
    expect(starts).toEqual([]);

    await forward(id, 40_000);
    await withSettings(id, KEPT);
    await gate.dial();
    gate.say();
    await until(() => gate.term === 1, "let in");
    expect((await view(id)).durability).toEqual({ kind: "keepers", keepers: ["a", "b", "c"], quorum: 3 });
    expect(starts[0]?.spec.writer).toMatchObject({ keepers: ["a", "b", "c"], quorum: 3 });
    expect((await reasons(id)).filter((one) => ["creating", "error", "booting"].includes(one))).toEqual([
      ...["error", "creating", "error", "creating", "booting"],
    ]);
    gate.close();
  });

  test("is prepared after an eviction with whoever has been waiting since before, who is then let in", async () => {
    const { placement } = await hostFor();
    const { id } = await createWith(MISTYPED, placement);
    const gate = await new Gate(id).dial();
    gate.connect();
    await until(() => gate.count("waking") > 0, "it is waited for");
    await evictDurableObject(stub(id));
    await withSettings(id, KEPT);
    await forward(id, 5_000);
    await until(() => gate.term === 1, "let in");
    expect((await reasons(id)).slice(0, 3)).toEqual(["database_created", "booting", "ready"]);
    gate.close();
  });

  test("was started without keepers by older versions: it has none, for good, and says so", async () => {
    const { id } = await create();
    await until(async () => (await state(id)) === "stopped", "prepared");
    await runInDurableObject(stub(id), (_o, c) => {
      const { sql } = c.storage;
      sql.exec("UPDATE database SET keeping = NULL, state = json_set(state, '$.term', 3, '$.served_term', 3)");
      sql.exec("DELETE FROM migration WHERE id = 'database/0004'");
    });
    await evictDurableObject(stub(id));
    await withSettings(id, KEPT);
    expect(await view(id)).toMatchObject({ term: 3, durability: { kind: "host", keepers: [], quorum: 0 } });
    await restsWithout(id);
  });
});
