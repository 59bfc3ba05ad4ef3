// Engines that read from a database of ours: what keeps it awake, what does not, and who is told.
import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { afterEach, describe, expect, test, vi } from "vitest";
import type { ReaderOrder, SourceNeed } from "../../contract/database-reader.ts";
import { newId } from "../../contract/id.ts";
import type { SourceAsk } from "../../objects/database/source.ts";
import { create, database, hostFor, reasons, SPACE, state, stub, until, view } from "./database-world.ts";

const FOR_LOAD: SourceNeed = { follows: false, reason: "initial load of shop" };
afterEach(() => void vi.useRealTimers());

/** A database that one connection leads to. */
async function led() {
  const { agent, placement, starts } = await hostFor();
  const given: (ReaderOrder | null)[] = [];
  agent.answers = (question) => {
    if (question.verb === "set_reader") given.push(question.reader);
    return question.verb === "stop_unused" ? { clients: 0 } : { reader: "x" };
  };
  const { id } = await create({ placement });
  const holder = newId("connection", Date.now());
  const ask = (what: SourceAsk) => database(id).asSource(what);
  expect(await ask({ do: "attach", connection_id: holder, namespace: SPACE })).toMatchObject({ ok: true });
  const later = async (ms: number) => {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + ms });
    await runDurableObjectAlarm(stub(id));
  };
  return { id, agent, starts, given, holder, ask, later };
}

describe("who reads from a database", () => {
  test("wakes it, is shown as why it is awake, and lets it sleep when it needs it no more", async () => {
    const { id, starts, given, holder, ask, later } = await led();
    await until(async () => (await state(id)) === "stopped", "prepared");
    const read = await ask({ do: "read", holder, need: FOR_LOAD, wait_ms: 10_000 });
    expect(read).toMatchObject({ ok: true, value: { standing: { term: 1, at: { host: "127.0.0.1", port: 20_000 } } } });
    expect(starts[0]?.spec.writer?.reader).toEqual(given[0]);
    const awake = await view(id);
    expect(awake.last_start).toMatchObject({ cause: "reader", client: { address: holder } });
    expect(awake.awake_because[0]?.clients).toMatchObject([{ address: holder, application_name: FOR_LOAD.reason }]);
    expect(awake.active_connections).toBe(0);
    await later(6_000);
    expect(await state(id)).toBe("ready");
    await ask({ do: "want", holder, need: null });
    expect((await view(id)).awake_because).toEqual([]);
    await later(6_000);
    await until(async () => (await state(id)) === "stopped", "asleep");
  });

  test("one that is not there any more does not keep it awake for ever", async () => {
    const { id, holder, ask, later } = await led();
    await ask({ do: "read", holder, need: FOR_LOAD, wait_ms: 10_000 });
    await evictDurableObject(stub(id));
    await later(301_000);
    await until(async () => (await view(id)).awake_because.length === 0, "it is asked, and is nobody");
    await later(6_000);
    await until(async () => (await state(id)) === "stopped", "asleep");
    expect(await reasons(id)).not.toContain("error");
  });

  test("one that follows is no reason to be awake, and is forgotten when nobody is there to be told", async () => {
    const { id, holder, ask, later } = await led();
    await ask({ do: "read", holder, need: FOR_LOAD, wait_ms: 10_000 });
    const engine = newId("instance", Date.now());
    await ask({ do: "want", holder: engine, need: { follows: true, reason: null } });
    await ask({ do: "want", holder, need: null });
    await later(6_000);
    await until(async () => (await state(id)) === "stopped", "asleep");
    const rows = () =>
      runInDurableObject(stub(id), (_o, { storage }) => storage.sql.exec("SELECT holder FROM reader").toArray());
    await until(async () => (await rows()).length === 0, "told, and not there");
  });

  test("the role is there from the first connection to the last, and of its own namespace only", async () => {
    const { id, given, holder, ask } = await led();
    expect(await ask({ do: "attach", connection_id: newId("connection", 1), namespace: "another" })).toMatchObject({
      ok: false,
      refusal: { code: "not_found" },
    });
    await ask({ do: "read", holder, need: FOR_LOAD, wait_ms: 10_000 });
    const second = newId("connection", Date.now());
    await ask({ do: "attach", connection_id: second, namespace: SPACE });
    await ask({ do: "detach", connection_id: second });
    expect(await ask({ do: "read", holder, need: FOR_LOAD, wait_ms: 1000 })).toMatchObject({ ok: true });
    await ask({ do: "detach", connection_id: holder });
    await until(() => given.at(-1) === null, "taken away from the writer");
    expect((await view(id)).awake_because).toEqual([]);
    expect(await ask({ do: "read", holder, need: FOR_LOAD, wait_ms: 0 })).toMatchObject({ ok: false });
  });
});
