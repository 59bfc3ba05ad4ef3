import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, test } from "vitest";
import { newId } from "../../contract/id.ts";
import { setTimer } from "../../objects/alarm.ts";
import { post } from "../../objects/outbox.ts";
import { remote } from "../../objects/remote.ts";
import { StoredObject, type Timer } from "../../objects/stored-object.ts";

describe("an object that was never made", () => {
  const asked = {
    connection: async (id: string) => {
      const object = remote(env.CONNECTION, id);
      return [
        await object.read([]),
        await object.events([], null, 1),
        await object.follow([], 0, 1),
        await object.isDeleted(),
      ];
    },
    database: async (id: string) => {
      const object = remote(env.DATABASE, id);
      await object.evict("host_x", "host_lost", [1]);
      return [await object.read([]), await object.waitFor([], ["ready"], 1), await object.isDeleted()];
    },
    schedule: async (id: string) => {
      const object = remote(env.SCHEDULE, id);
      await object.runStands("dep_x", { status: "gone", message: "" });
      return [await object.read([]), await object.follow([], 0, 1)];
    },
  };
  const bound = { connection: env.CONNECTION, database: env.DATABASE, schedule: env.SCHEDULE };

  test.each(["connection", "database", "schedule"] as const)(
    "a %s: stores nothing, whatever it is asked",
    async (kind) => {
      const id = newId(kind, 1);
      for (const answer of await asked[kind](id))
        if (answer !== null && answer !== false)
          expect(answer).toMatchObject({
            refusal: { code: "not_found", detail: expect.stringContaining(`no ${kind} ${id}`) },
          });
      const stub = bound[kind].getByName(id) as DurableObjectStub<undefined>;
      const object = remote(bound[kind] as typeof env.CONNECTION, id);
      await object.poke();
      expect(await object.reseal()).toEqual({ ok: true, value: { resealed: 0, left: {} } });
      const tables = "SELECT name FROM sqlite_master WHERE name NOT LIKE '\\_cf%' ESCAPE '\\'";
      expect(await runInDurableObject(stub, (_, { storage }) => storage.sql.exec(tables).toArray())).toEqual([]);
      expect(await runInDurableObject(stub, (_, { storage }) => storage.getAlarm())).toBeNull();
    },
  );
});

test("a timer that comes due while a delivery hangs does not wait for it", async () => {
  const stub = env.NAMESPACE.getByName(`hanging-${crypto.randomUUID()}`);
  await runInDurableObject(stub, async (_, ctx) => {
    const hanging = Promise.withResolvers<void>();
    const rang: string[] = [];
    const object = new (class extends StoredObject {
      make(): void {
        this.bear();
        this.change((now) => {
          post(this.sql, "hangs", now);
          setTimer(this.sql, "first", now);
        });
      }
      protected override deliver(): Promise<void> {
        return hanging.promise;
      }
      protected override due({ name }: Timer, now: number): void {
        rang.push(name);
        if (name === "first") setTimer(this.sql, "second", now + 100);
        else hanging.resolve();
      }
    })(ctx, env, []);
    object.make();
    await object.alarm();
    expect(rang).toEqual(["first", "second"]);
    expect(await ctx.storage.getAlarm()).toBeNull();
  });
});
