import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import { commit } from "../../objects/alarm.ts";
import { Outbox, post } from "../../objects/outbox.ts";
import { remote } from "../../objects/remote.ts";

test("a letter that its own delivery brings about at once goes out once, after it", async () => {
  const name = `outbox-${crypto.randomUUID()}`;
  await remote(env.NAMESPACE, name).createNamespace({
    actor: "test",
    request_id: "req_test",
    if_match: null,
    idempotency: null,
  });
  const sent = await runInDurableObject(env.NAMESPACE.getByName(name), async (_object, { storage }) => {
    const keys: string[] = [];
    const write = (key: string) => commit(storage, () => post(storage.sql, key, Date.now()));
    const outbox: Outbox = new Outbox(storage, async (key) => {
      keys.push(key);
      if (key === "first") {
        write("second");
        void outbox.drain();
      }
      await Promise.resolve();
    });
    write("first");
    await outbox.drain();
    return keys;
  });
  expect(sent).toEqual(["first", "second"]);
});
