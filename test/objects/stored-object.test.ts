import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, test } from "vitest";
import { newId } from "../../contract/id.ts";
import { remote } from "../../objects/remote.ts";

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
