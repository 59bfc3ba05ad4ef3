import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { AuditEntry } from "../../contract/event.ts";
import type { HostView } from "../../contract/host.ts";
import { newId } from "../../contract/id.ts";
import { helps, type Room } from "../../objects/index/capacity.ts";
import type { ListQuery } from "../../objects/index/list.ts";
import type { IndexRow } from "../../objects/projection.ts";

const NOW = Date.UTC(2100, 0, 1);
const MINUTE = 60_000;

beforeEach(() => void vi.useFakeTimers({ toFake: ["Date"], now: NOW }));
afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

const fresh = () => env.INDEX.getByName(`index-${crypto.randomUUID()}`);
type Stub = ReturnType<typeof fresh>;

const row = (id: string, rest: Partial<IndexRow> = {}): IndexRow => ({
  kind: "deployment",
  id,
  namespace: "shop",
  name: id,
  status: "running",
  type: "worker",
  labels: {},
  passing: false,
  version: 1,
  body: JSON.stringify({ id, version: rest.version ?? 1 }),
  ...rest,
});
const query = (rest: Partial<ListQuery> = {}): ListQuery => ({
  kind: "deployment",
  namespaces: [],
  names: [],
  statuses: [],
  types: [],
  labels: [],
  before: null,
  limit: 100,
  ...rest,
});
const bodies = async (index: Stub, rest: Partial<ListQuery> = {}) => (await index.list(query(rest))).bodies;
const alarmOf = (index: Stub) => runInDurableObject(index, (_, state) => state.storage.getAlarm());

/** Lets the index reach objects of our own instead of the real ones. */
function listen(index: Stub): Promise<{ poked: string[]; told: string[]; fail: { times: number } }> {
  return runInDurableObject(index, (instance) => {
    const heard = { poked: [] as string[], told: [] as string[], fail: { times: 0 } };
    const stub = (id: string) => ({
      poke: async () => {
        if (heard.fail.times-- > 0) throw new Error("not reachable");
        heard.poked.push(id);
      },
      capacityChanged: async () => {
        if (heard.fail.times-- > 0) throw new Error("not reachable");
        heard.told.push(id);
      },
    });
    (instance as unknown as { env: unknown }).env = { DEPLOYMENT: { getByName: stub }, HOST: { getByName: stub } };
    return heard;
  });
}

describe("a projection", () => {
  it("is kept when it is newer, and changes nothing when it is late", async () => {
    const index = fresh();
    await index.project({ row: row("dep_a", { version: 2 }), audits: [] });
    await index.project({ row: row("dep_a", { version: 1, status: "pending" }), audits: [] });
    expect(await bodies(index)).toEqual(['{"id":"dep_a","version":2}']);
    expect(await bodies(index, { statuses: ["pending"] })).toEqual([]);
    await index.project({ row: row("dep_a", { version: 3 }), audits: [] });
    expect(await bodies(index)).toEqual(['{"id":"dep_a","version":3}']);
  });

  it("of what is gone leaves a tombstone for a day, which a late one cannot lift", async () => {
    const index = fresh();
    await index.project({ row: row("dep_a", { version: 5 }), audits: [] });
    await index.project({ row: row("dep_a", { version: 6, body: null, passing: true }), audits: [] });
    await index.project({ row: row("dep_a", { version: 5, passing: true }), audits: [] });
    expect(await bodies(index)).toEqual([]);
    expect(await alarmOf(index)).toBeNull();
    const kept = () =>
      runInDurableObject(index, (_, state) =>
        state.storage.sql
          .exec("SELECT id FROM entry")
          .toArray()
          .map(({ id }) => id),
      );
    vi.setSystemTime(NOW + 1440 * MINUTE - 1);
    await index.project({ row: row("dep_b"), audits: [] });
    expect(await kept()).toEqual(["dep_a", "dep_b"]);
    vi.setSystemTime(NOW + 1440 * MINUTE);
    await index.project({ row: row("dep_c"), audits: [] });
    expect(await kept()).toEqual(["dep_b", "dep_c"]);
  });

  it("may come any number of times, in any order: 120 random histories end alike", async () => {
    const index = fresh();
    for (let round = 0; round < 120; round++) {
      const id = `dep_${round}`;
      const versions = Array.from({ length: 1 + Math.floor(Math.random() * 6) }, (_, i) => i + 1);
      const sent = [...versions, ...versions].sort(() => Math.random() - 0.5);
      for (const version of sent)
        await index.project({ row: row(id, { version, passing: version % 2 === 1 }), audits: [] });
      const newest = versions.length;
      expect((await bodies(index, { limit: 1, before: `${id}~`, labels: [] }))[0]).toBe(
        JSON.stringify({ id, version: newest }),
      );
    }
  });

  it("appends its audit entries once, and they are dropped after 90 days", async () => {
    const index = fresh();
    const entry = (id: string, at: number): AuditEntry => ({
      id,
      timestamp: new Date(at).toISOString(),
      actor: "root",
      action: "create",
      resource_kind: "deployment",
      resource_id: "dep_a",
      resource_name: "a",
      namespace: "shop",
      before_revision: null,
      after_revision: 1,
    });
    const trail = async () =>
      (await index.audits({ namespaces: [], resource_id: null, actor: null, before: null, limit: 10 })).bodies.map(
        (body) => (JSON.parse(body) as AuditEntry).id,
      );
    await index.project({ row: row("dep_a"), audits: [entry("1", NOW), entry("2", NOW)] });
    await index.project({ row: row("dep_a"), audits: [entry("2", NOW), entry("3", NOW + 1)] });
    expect(await trail()).toEqual(["3", "2", "1"]);
    vi.setSystemTime(NOW + 90 * 1440 * MINUTE + 1);
    await index.record(entry("4", NOW + 90 * 1440 * MINUTE));
    expect(await trail()).toEqual(["4", "3"]);
  });
});

describe("a list", () => {
  it("filters like a plain program would: 200 random questions over 300 random rows", async () => {
    const index = fresh();
    const pick = <T>(items: readonly T[]): T => items[Math.floor(Math.random() * items.length)] as T;
    const some = <T>(items: readonly T[]): T[] => items.filter(() => Math.random() < 0.3);
    const namespaces = ["a", "b", "c"];
    const statuses = ["running", "failed", "pending"];
    const labels = [{}, { tier: "front" }, { tier: "back", 'q"uote': "x" }, { tier: "front", canary: "" }];
    const rows = Array.from({ length: 300 }, (_, i) =>
      row(`dep_${String(i).padStart(4, "0")}`, {
        namespace: pick(namespaces),
        status: pick(statuses),
        type: pick(["worker", "job"]),
        labels: pick(labels),
        ...(Math.random() < 0.1 ? { body: null } : {}),
      }),
    );
    for (const one of [...rows].sort(() => Math.random() - 0.5)) await index.project({ row: one, audits: [] });
    const wanted: [string, string | null][] = [
      ["tier", null],
      ["tier", "front"],
      ["canary", null],
      ['q"uote', "x"],
      ["nothing", null],
      ["tier", "fron"],
    ];
    for (let i = 0; i < 200; i++) {
      const asked = query({
        namespaces: some(namespaces),
        names: [],
        statuses: some(statuses),
        types: some(["worker", "job"]),
        labels: some(wanted),
        limit: pick([1, 3, 50, 1000]),
        before: Math.random() < 0.5 ? null : pick(rows).id,
      });
      const fits = rows
        .filter((one) => one.body !== null)
        .filter((one) => asked.namespaces.length === 0 || asked.namespaces.includes(one.namespace as string))
        .filter((one) => asked.statuses.length === 0 || asked.statuses.includes(one.status))
        .filter((one) => asked.types.length === 0 || asked.types.includes(one.type))
        .filter((one) =>
          asked.labels.every(([key, value]) =>
            value === null ? one.labels[key] !== undefined : one.labels[key] === value,
          ),
        )
        .filter((one) => asked.before === null || one.id < asked.before)
        .reverse();
      const slice = await index.list(asked);
      expect(slice.keys).toEqual(fits.slice(0, asked.limit).map(({ id }) => id));
      expect(slice.more).toBe(fits.length > asked.limit);
    }
  });
});

describe("the sweep", () => {
  it("needs no alarm while nothing is in a passing status", async () => {
    const index = fresh();
    await index.project({ row: row("dep_a"), audits: [] });
    expect(await alarmOf(index)).toBeNull();
    await index.project({ row: row("dep_a", { version: 2, passing: true }), audits: [] });
    expect(await alarmOf(index)).toBe(NOW + 2 * MINUTE);
    await index.project({ row: row("dep_a", { version: 3 }), audits: [] });
    expect(await alarmOf(index)).toBeNull();
  });

  it("pokes what has not been told of for two minutes, then after twice as long, up to an hour", async () => {
    const index = fresh();
    const heard = await listen(index);
    await index.project({ row: row("dep_a", { passing: true }), audits: [] });
    let at = NOW;
    for (const minutes of [2, 4, 8, 16, 32, 60, 60]) {
      vi.setSystemTime(at + minutes * MINUTE - 1);
      await runInDurableObject(index, (object) => object.alarm());
      const before = heard.poked.length;
      at += minutes * MINUTE;
      vi.setSystemTime(at);
      expect(await runDurableObjectAlarm(index)).toBe(true);
      expect(heard.poked.length).toBe(before + 1);
    }
    // News start it over; the same news again do not.
    await index.project({ row: row("dep_a", { passing: true }), audits: [] });
    expect(await alarmOf(index)).toBe(at + 60 * MINUTE);
    await index.project({ row: row("dep_a", { version: 2, passing: true }), audits: [] });
    expect(await alarmOf(index)).toBe(at + 2 * MINUTE);
  });

  it("finds again what it was to look after when its own alarm was lost", async () => {
    const index = fresh();
    await index.project({ row: row("dep_a", { passing: true }), audits: [] });
    await runInDurableObject(index, (_, state) => state.storage.deleteAlarm());
    await evictDurableObject(index);
    const heard = await listen(index);
    vi.setSystemTime(NOW + 3 * MINUTE);
    expect(await alarmOf(index)).toBeNull();
    // The next projection of anything that is passing sets it anew.
    await index.project({ row: row("dep_b", { passing: true }), audits: [] });
    vi.setSystemTime(NOW + 4 * MINUTE);
    await runInDurableObject(index, (object) => object.alarm());
    expect(heard.poked).toEqual(["dep_a"]);
  });

  it("tries again when the object cannot be reached, and leaves it when it rests by then", async () => {
    const index = fresh();
    const heard = await listen(index);
    heard.fail.times = 1;
    vi.spyOn(console, "warn").mockImplementation(() => undefined);
    await index.project({ row: row("dep_a", { passing: true }), audits: [] });
    await index.project({ row: row("host_b", { kind: "host", passing: true }), audits: [] });
    vi.setSystemTime(NOW + 2 * MINUTE);
    await runDurableObjectAlarm(index);
    expect(heard.poked).toHaveLength(1);
    const [missed, other] =
      heard.poked[0] === "dep_a" ? (["host_b", "dep_a"] as const) : (["dep_a", "host_b"] as const);
    expect(heard.poked).toEqual([other]);
    vi.setSystemTime(NOW + 2 * MINUTE + 1000);
    if (missed === "dep_a") await index.project({ row: row("dep_a", { version: 2 }), audits: [] });
    await runDurableObjectAlarm(index);
    expect(heard.poked).toEqual(missed === "dep_a" ? [other] : [other, missed]);
  });

  it("goes through hundreds of rows that are due at once", async () => {
    const index = fresh();
    const heard = await listen(index);
    for (let i = 0; i < 230; i++) await index.project({ row: row(`dep_${i}`, { passing: true }), audits: [] });
    vi.setSystemTime(NOW + 2 * MINUTE);
    await runDurableObjectAlarm(index);
    expect(new Set(heard.poked).size).toBe(230);
    expect(heard.poked).toHaveLength(230);
  });
});

const room = (rest: Partial<Room> = {}): Room => ({
  status: "ready",
  scheduling: "open",
  capacity: { memory_bytes: 1000, cpu_millis: 1000 },
  reserved: { memory_bytes: 500, cpu_millis: 500 },
  runtimes: [{ runtime: "process", version: "1" }],
  labels: { zone: "a" },
  workloads: 3,
  ...rest,
});

describe("room on a host", () => {
  const cases: [string, Room | null, Room, boolean][] = [
    ["a new host", null, room(), true],
    ["a new host that is not ready", null, room({ status: "joining" }), false],
    ["nothing changed", room(), room(), false],
    ["became ready", room({ status: "syncing" }), room(), true],
    ["was uncordoned", room({ scheduling: "cordoned" }), room(), true],
    ["was cordoned", room(), room({ scheduling: "cordoned" }), false],
    ["has less", room(), room({ reserved: { memory_bytes: 600, cpu_millis: 500 }, workloads: 4 }), false],
    ["has more memory", room(), room({ reserved: { memory_bytes: 400, cpu_millis: 500 } }), true],
    ["has more CPU and less memory", room(), room({ reserved: { memory_bytes: 600, cpu_millis: 400 } }), true],
    ["has grown", room(), room({ capacity: { memory_bytes: 2000, cpu_millis: 1000 } }), true],
    ["runs fewer", room(), room({ workloads: 2 }), true],
    [
      "got another runtime",
      room(),
      room({
        runtimes: [
          { runtime: "process", version: "1" },
          { runtime: "docker", version: "20" },
        ],
      }),
      true,
    ],
    [
      "lost a runtime",
      room({
        runtimes: [
          { runtime: "process", version: "1" },
          { runtime: "docker", version: "20" },
        ],
      }),
      room(),
      false,
    ],
    ["has another label", room(), room({ labels: { zone: "b" } }), true],
    ["has room, but is unreachable", room(), room({ status: "unreachable", workloads: 0 }), false],
  ];
  it.each(cases)("helps: %s", (_, before, now, expected) => {
    expect(helps(before, now)).toBe(expected);
  });

  const hostRow = (version: number, view: Partial<HostView>): IndexRow =>
    row("host_a", {
      kind: "host",
      namespace: null,
      version,
      body: JSON.stringify({ ...room(), id: "host_a", ...view }),
    });

  it("calls the oldest that wait, each once, fifty at a time", async () => {
    const index = fresh();
    const heard = await listen(index);
    const waiting: string[] = [];
    for (let i = 0; i < 120; i++) waiting.push(newId("deployment", NOW + i));
    for (const id of [...waiting].sort(() => Math.random() - 0.5)) await index.awaitCapacity(id);
    await index.awaitCapacity(waiting[0] as string);
    expect(await alarmOf(index)).toBeNull();
    await index.project({ row: hostRow(1, { status: "syncing" }), audits: [] });
    expect(heard.told).toEqual([]);
    await index.project({ row: hostRow(2, {}), audits: [] });
    await vi.waitFor(() => expect(heard.told).toHaveLength(120));
    expect(new Set(heard.told.slice(0, 50))).toEqual(new Set(waiting.slice(0, 50)));
    expect(new Set(heard.told)).toEqual(new Set(waiting));
    // Only those who wait again are called again.
    await index.awaitCapacity(waiting[7] as string);
    await index.project({ row: hostRow(3, { workloads: 2 }), audits: [] });
    await vi.waitFor(() => expect(heard.told).toHaveLength(121));
    expect(heard.told.at(-1)).toBe(waiting[7]);
    // What is still set rings soon, in vain.
    await runDurableObjectAlarm(index);
    expect(await alarmOf(index)).toBeNull();
  });

  it("is not forgotten when the index stops in the middle", async () => {
    const index = fresh();
    let heard = await listen(index);
    heard.fail.times = 1_000_000;
    vi.spyOn(console, "warn").mockImplementation(() => undefined);
    const waiting = Array.from({ length: 70 }, (_, i) => newId("deployment", NOW + i));
    for (const id of waiting) await index.awaitCapacity(id);
    await index.project({ row: hostRow(1, {}), audits: [] });
    await evictDurableObject(index);
    heard = await listen(index);
    for (let i = 1; i < 10; i++) {
      vi.setSystemTime(NOW + i * 400_000);
      if (!(await runDurableObjectAlarm(index))) break;
    }
    expect(new Set(heard.told)).toEqual(new Set(waiting));
    expect(await alarmOf(index)).toBeNull();
  });

  it("is told to placement as the hosts that there are", async () => {
    const index = fresh();
    expect(await index.hosts()).toEqual([]);
    await index.project({ row: hostRow(1, {}), audits: [] });
    await index.project({ row: row("tok_a", { kind: "token" }), audits: [] });
    expect((await index.hosts()).map((body) => (JSON.parse(body) as HostView).id)).toEqual(["host_a"]);
    await index.project({ row: { ...hostRow(2, {}), body: null }, audits: [] });
    expect(await index.hosts()).toEqual([]);
  });
});
