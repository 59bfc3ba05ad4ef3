// A database whose keepers, or what seals its secrets, cannot be had: until when it waits, and what comes of it.
import { runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, test, vi } from "vitest";
import { newId } from "../../contract/id.ts";
import { alarmOf, create, state, stub, view } from "./database-world.ts";

const MISTYPED = { KEEPERS: "a=http://127.0.0.1:7999" };

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
});
