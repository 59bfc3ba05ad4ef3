import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect, it, vi } from "vitest";
import { commit, setTimer } from "../../objects/alarm.ts";
import { post } from "../../objects/outbox.ts";
import type { TokenObject } from "../../objects/token/object.ts";

/** What the test looks into; protected in the object. */
type Inside = {
  deliver: (key: string) => Promise<void>;
  due: (timer: { name: string }) => void;
  afterCommit: () => void;
};

it("a delivery that hangs does not keep the alarm from its timers, also not from one that is set meanwhile", async () => {
  const stub = env.TOKEN.getByName(`tok_${crypto.randomUUID()}`);
  await stub.mintKey();
  await runInDurableObject(stub, async (token: TokenObject, { storage }) => {
    const inside = token as unknown as Inside;
    const hanging = Promise.withResolvers<void>();
    const taken: { name: string }[] = [];
    const dueAt: Record<string, number> = {};
    const set = (name: string, ms: number) => {
      dueAt[name] = Date.now() + ms;
      setTimer(storage.sql, name, dueAt[name]);
    };
    inside.deliver = () => hanging.promise;
    inside.due = (timer) => void taken.push(timer);
    commit(storage, () => {
      post(storage.sql, "hangs", Date.now());
      set("later", 300);
      set("in an hour", 3_600_000);
    });

    const alarm = token.alarm(undefined);
    await scheduler.wait(50);
    commit(storage, () => set("sooner", 50));
    inside.afterCommit();
    await vi.waitUntil(() => taken.length === 2, { timeout: 10_000, interval: 10 });
    expect(taken.map(({ name }) => name)).toEqual(["sooner", "later"]);

    hanging.resolve();
    await alarm;
    expect(await storage.getAlarm()).toBe(dueAt["in an hour"]);
  });
});
