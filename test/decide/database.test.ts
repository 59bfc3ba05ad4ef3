// The database's machine: its tables, and what happens in places that random histories seldom come to.
import { describe, expect, test } from "vitest";
import {
  DATABASE_ACTION_TABLE,
  DATABASE_DEADLINES,
  DATABASE_NEXT,
  DATABASE_STATES,
  type DatabaseStatus,
} from "../../contract/database.ts";
import { random } from "../random.ts";
import type { Gateway, Host } from "./database-parts.ts";
import { gatewayOf, settle } from "./database-settling.ts";
import { DatabaseWorld } from "./database-world.ts";

describe("tables", () => {
  test("every passing state has a deadline, and no resting one", () => {
    const passing = DATABASE_STATES.filter((state) => Object.hasOwn(DATABASE_DEADLINES, state));
    expect(passing).toEqual(["creating", "booting", "stopping", "deleting"]);
  });

  test("every state is reached, and deleting is reached from all", () => {
    const reached = new Set<DatabaseStatus>(Object.values(DATABASE_NEXT).flat());
    expect(DATABASE_STATES.filter((state) => !reached.has(state))).toEqual([]);
    for (const state of DATABASE_STATES)
      if (state !== "deleting") expect(DATABASE_NEXT[state] as readonly string[]).toContain("deleting");
  });

  test("nothing is started, stopped or scaled by hand, in any state", () => {
    for (const action of ["start", "stop", "scale"] as const)
      expect([DATABASE_ACTION_TABLE[action].from, DATABASE_ACTION_TABLE[action].already]).toEqual([[], []]);
  });
});

describe("a wake", () => {
  const slept = (keeping?: { keepers: number; quorum: number }): DatabaseWorld => {
    const world = new DatabaseWorld(random(1), keeping);
    const gateway = gatewayOf(world);
    world.connect(gateway);
    settle(world, 3_000);
    world.leave(gateway);
    settle(world, 60_000);
    expect(world.state).toMatchObject({ status: "stopped", home: "a", served_term: 1 });
    return world;
  };

  test("waits a little for the host with the newest copy, whose agent is being restarted, before it goes elsewhere", () => {
    for (const [back, host] of [
      [2_000, "a"],
      [null, "b"],
    ] as const) {
      const world = slept();
      const home = world.host("a");
      home.status = "syncing";
      world.connect(gatewayOf(world));
      settle(world, 1_500);
      expect(world.state).toMatchObject({ status: "booting", message: expect.stringContaining("waiting for host a") });
      if (back !== null) home.status = "ready";
      settle(world, 10_000);
      expect(world.state).toMatchObject({ status: "ready", host_id: host });
    }
  });

  test("with no host that could ever run it fails at once, and says why; one that may come is waited for", () => {
    const world = new DatabaseWorld(random(1));
    const gateway = world.gateways[0] as Gateway;
    for (const host of world.hosts) host.runtimes = [];
    world.connect(gateway);
    settle(world, 500);
    expect(world.state).toMatchObject({ status: "error", code: "no_host" });
    expect(world.state).toMatchObject({
      message: expect.stringMatching(/^no host fits: a has no postgres runtime; b /),
    });
    expect([gateway.refused, gateway.waiting]).toEqual([1, 0]);

    // It has joined, and not said yet what it can run.
    world.host("a").status = "syncing";
    settle(world, 2_000);
    world.connect(gateway);
    settle(world, 5_000);
    expect(world.state).toMatchObject({ status: "booting", step: { name: "placing" } });
    Object.assign(world.host("a"), { status: "ready", runtimes: [{ runtime: "postgres", version: "18" }] });
    settle(world, 5_000);
    expect(world.state).toMatchObject({ status: "ready", host_id: "a" });
  });

  test("without keepers goes nowhere but to the only copy", () => {
    const world = slept({ keepers: 0, quorum: 0 });
    world.host("a").status = "lost";
    world.connect(gatewayOf(world));
    settle(world, 40_000);
    expect(world.state).toMatchObject({ status: "error", code: "no_host", home: "a" });
    expect(world.host("b").copy).toBe(false);
  });
});

describe("a database that is not prepared", () => {
  const unprepared = (): { world: DatabaseWorld; gateway: Gateway } => {
    const world = new DatabaseWorld(random(1), { prepared: false });
    return { world, gateway: gatewayOf(world) };
  };

  test("is started as soon as it is, for whoever waits since before, and for nobody who has left", () => {
    for (const stays of [true, false]) {
      const { world, gateway } = unprepared();
      world.connect(gateway);
      world.toDatabase.shift()?.say();
      expect(world.state).toMatchObject({ status: "creating", wake: { gateway: "g", at: world.now } });
      if (!stays) {
        gateway.waiting = 0;
        world.say(gateway);
        world.toDatabase.shift()?.say();
      }
      world.pass(700);
      world.deliver("prepare");
      expect(world.state.status).toBe(stays ? "booting" : "stopped");
      settle(world, 2_000);
      expect(world.state.last_start?.ms ?? 0).toBeGreaterThanOrEqual(stays ? 700 : 0);
      expect(world.state.term).toBe(stays ? 1 : 0);
    }
  });

  test("says why, and is never started; once it can be prepared the next client gets in", () => {
    const { world, gateway } = unprepared();
    world.preparable = false;
    world.connect(gateway);
    settle(world, 5_000);
    expect(world.state).toMatchObject({ status: "creating", message: "KEEPERS cannot be read" });
    settle(world, 60_000);
    expect(world.state).toMatchObject({ status: "error", code: "not_prepared", term: 0 });
    expect(world.state).toMatchObject({ message: expect.stringContaining("KEEPERS cannot be read") });
    expect([gateway.refused, gateway.waiting]).toEqual([1, 0]);
    world.preparable = true;
    settle(world, 40_000);
    expect(world.state).toMatchObject({ status: "error", term: 0 });
    world.connect(gateway);
    settle(world, 10_000);
    expect(world.state).toMatchObject({ status: "ready", term: 1 });
  });
});

describe("a start that began without what it needs, in an older version", () => {
  test("goes to no host, and the next client has it prepared first", () => {
    const world = new DatabaseWorld(random(1));
    const gateway = gatewayOf(world);
    for (const host of world.hosts) host.status = "syncing";
    world.connect(gateway);
    settle(world, 500);
    expect(world.state).toMatchObject({ status: "booting", step: { name: "placing" } });
    world.prepared = false;
    for (const host of world.hosts) host.status = "ready";
    settle(world, 2_000);
    expect(world.state).toMatchObject({ status: "error", code: "not_prepared", term: 0 });
    settle(world, 2_000);
    world.connect(gateway);
    settle(world, 2_000);
    expect(world.history.slice(-3).map((line) => line.replace(/^.*: | \(.*/g, ""))).toEqual([
      ...["error -> creating", "creating -> booting", "booting -> ready"],
    ]);
  });
});

describe("a host that is removed by force", () => {
  test("may only be out of reach: nobody is let in elsewhere before the lease of its writer is over, on whoever's word", () => {
    for (const cut of [false, true]) {
      const world = new DatabaseWorld(random(4));
      world.connect(gatewayOf(world));
      settle(world, 2_000);
      const host = world.hosts.find(({ running }) => running !== null) as Host;
      world.unlink(host);
      if (cut) world.keepers.all[0]?.cut.add(host.id);
      // Long enough for the keepers to have been asked.
      settle(world, 12_000);
      host.status = "removed";
      world.do({ type: "evicted", host_id: host.id, term: 1, why: "host_removed" });
      const at = world.now;
      // `onlyWriter` throws if it is opened too early.
      while (world.state.status !== "ready" && world.now < at + 90_000) settle(world, 100);
      expect([world.state.status, world.state.term > 1, host.running]).toEqual(["ready", true, null]);
      settle(world, 60_000);
      expect([world.state.leaving, world.state.copies.includes(host.id)]).toEqual([[], false]);
    }
  });
});

describe("a stop for idleness", () => {
  /** The lease of its only gateway is over, and the host is about to be asked: whoever comes now is let in by what the gateway was told before. */
  const aboutToClose = (seed: number): { world: DatabaseWorld; gateway: Gateway } => {
    const world = new DatabaseWorld(random(seed));
    const gateway = gatewayOf(world);
    world.connect(gateway);
    settle(world, 2_000);
    world.leave(gateway);
    world.cutLine(gateway);
    const closing = () => [...world.letters].some((key) => key.startsWith("close"));
    for (let ms = 0; ms < 60_000 && !closing(); ms += 100) world.pass(100);
    return { world, gateway };
  };

  test("is not carried out while a gateway that cannot be heard has a client, also one that came without a lease", () => {
    const { world, gateway } = aboutToClose(2);
    world.connect(gateway);
    expect(gateway.sessions).toEqual([1]);
    for (let ms = 0; ms < 120_000; ms += 100) {
      for (const key of [...world.letters]) world.deliver(key);
      for (const host of world.hosts) world.sync(host);
      world.pass(100);
    }
    expect([world.state.status, world.cut, gateway.sessions]).toEqual(["ready", 0, [1]]);
    world.leave(gateway);
    settle(world, 60_000);
    expect([world.state.status, world.cut]).toEqual(["stopped", 0]);
  });

  test("whose answer is lost is over all the same, and a client that came meanwhile wakes it", () => {
    for (const comes of [false, true]) {
      const { world, gateway } = aboutToClose(3);
      for (const key of world.letters) if (key.startsWith("close")) world.deliver(key, true);
      expect([world.state.status, world.hosts[0]?.running]).toEqual(["ready", null]);
      if (comes) world.connect(gateway);
      settle(world, 20_000);
      const { status, term } = world.state;
      expect([comes, status, term > 1, world.cut]).toEqual([comes, comes ? "ready" : "stopped", comes, 0]);
    }
  });
});
