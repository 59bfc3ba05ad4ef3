// The database's machine: its tables, then random histories of hosts, gateways and clients.
import { describe, expect, test } from "vitest";
import {
  DATABASE_ACTION_TABLE,
  DATABASE_DEADLINES,
  DATABASE_NEXT,
  DATABASE_STATES,
  type DatabaseStatus,
} from "../../contract/database.ts";
import { deadlineOf } from "../../objects/database/letters.ts";
import { random } from "../random.ts";
import type { Gateway, Host } from "./database-parts.ts";
import { DatabaseWorld } from "./database-world.ts";

const HISTORIES = Number(process.env.HISTORIES ?? 400);
const STEPS = 250;
const KEEPERS = [
  { keepers: 1, quorum: 1 },
  { keepers: 3, quorum: 2 },
  { keepers: 3, quorum: 3 },
  { keepers: 2, quorum: 1 },
  { keepers: 3, quorum: 1 },
];
type Random = ReturnType<typeof random>;
const gatewayOf = (world: DatabaseWorld) => world.gateways[0] as Gateway;
const keepersOf = (seed: number) => KEEPERS[seed % KEEPERS.length];

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

/** Everything that waits is done until nothing is left to do. */
function settle(world: DatabaseWorld, ms: number): void {
  for (const until = world.now + ms; world.now < until; ) {
    for (const gateway of world.gateways) while (gateway.inbox.length > 0) world.hear(gateway);
    while (world.toDatabase.length > 0) world.toDatabase.shift()?.say();
    for (const key of [...world.letters]) world.deliver(key);
    for (const host of world.hosts) world.sync(host);
    while (world.reports.length > 0) report(world, world.reports.shift());
    world.pass(100);
    // The sweep of the lists looks after what sits in a passing state.
    if (Math.floor(world.now / 30_000) !== Math.floor((world.now - 100) / 30_000)) world.do({ type: "demand" });
    for (const gateway of world.gateways) {
      if (!gateway.up && gateway.waiting + gateway.sessions.length > 0) world.dial(gateway);
      if (gateway.up && Math.floor(world.now / 10_000) !== Math.floor((world.now - 100) / 10_000)) world.say(gateway);
    }
  }
}

function report(world: DatabaseWorld, one: DatabaseWorld["reports"][number] | undefined): void {
  if (one) world.do({ type: "observed", host_id: one.host, term: one.term, observation: one.observation });
}

/** A keeper is started anew, or cannot be reached by a host, or can again; clients come and go. */
function trouble(world: DatabaseWorld, rnd: Random): void {
  const i = rnd.int(world.keepers.all.length);
  const host = rnd.pick(world.hosts);
  const gateway = rnd.pick(world.gateways);
  if (rnd.chance(0.2)) world.keepers.restart(i, world.now);
  else if (rnd.chance(0.3)) world.keepers.all[i]?.cut.add(host.id);
  else world.keepers.all[i]?.cut.delete(host.id);
  if (gateway.sessions.length === 0) world.connect(gateway);
}

function act(world: DatabaseWorld, rnd: Random): void {
  const host = rnd.pick(world.hosts);
  const gateway = rnd.pick(world.gateways);
  const letters = [...world.letters];
  switch (rnd.int(18)) {
    case 0:
    case 1:
      if (letters.length > 0) world.deliver(rnd.pick(letters), rnd.chance(0.2));
      break;
    case 2:
    case 3:
      world.sync(host);
      break;
    case 4:
    case 5: {
      const [one] = world.reports.splice(rnd.int(world.reports.length), 1);
      if (one && rnd.chance(0.3)) world.reports.push(one);
      report(world, one);
      break;
    }
    case 6:
    case 7:
      world.toDatabase.shift()?.say();
      break;
    case 8:
    case 9:
      world.hear(gateway);
      break;
    case 10:
      world.connect(gateway);
      break;
    case 11:
      if (rnd.chance(0.7)) world.leave(gateway);
      else if (gateway.up) world.say(gateway);
      else world.dial(gateway);
      break;
    case 12:
      if (rnd.chance(0.2)) world.cutLine(gateway);
      if (rnd.chance(0.1)) world.crash(host);
      break;
    case 13:
      if (rnd.chance(0.3)) world.unlink(host);
      else world.link(host);
      break;
    case 14:
    case 15:
      trouble(world, rnd);
      break;
    default:
      world.pass(rnd.pick([1, 20, 200, 500, 2_000, 6_000, 15_000, 40_000]));
  }
}

describe("a wake", () => {
  const slept = (keeping?: (typeof KEEPERS)[number]): DatabaseWorld => {
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

/** A world for each seed. What goes wrong in one is told with its last steps. */
function histories(count: number, from: number, live: (world: DatabaseWorld, rnd: Random) => void): void {
  for (let seed = 1; seed <= count; seed++) {
    const rnd = random(from + seed);
    const world = new DatabaseWorld(rnd, { ...keepersOf(seed), prepared: seed % 4 > 0 });
    try {
      live(world, rnd);
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}\n${world.history.slice(-12).join("\n")}`, {
        cause: error,
      });
    }
  }
}

describe("random histories", () => {
  test(`${HISTORIES} of them: one writer at a time, a term is one host's, nobody is cut by a stop for idleness, and it always wakes again`, () => {
    const moves = new Map<string, number>();
    histories(HISTORIES, 0, (world, rnd) => {
      world.preparable = rnd.chance(0.5);
      for (let step = 0; step < STEPS; step++) {
        if (rnd.chance(0.02)) world.preparable = true;
        // Clocks that are off by less than the margin between the lease and what is waited for beyond it.
        if (rnd.chance(0.02)) world.skew = rnd.int(8_000) - 4_000;
        act(world, rnd);
      }
      for (const line of world.history) {
        const move = line.replace(/^.*: /, "").replace(/ \(.*/, "");
        moves.set(move, (moves.get(move) ?? 0) + 1);
      }
      expect(world.cut).toBe(0);
      recovers(world);
    });
    for (const move of [
      ...["stopped -> booting", "booting -> ready", "ready -> stopping", "stopping -> stopped"],
      ...["stopping -> booting", "ready -> booting", "ready -> stopped", "booting -> error", "error -> booting"],
      ...["creating -> stopped", "creating -> booting", "creating -> error", "error -> creating"],
    ])
      expect(moves.get(move) ?? 0, move).toBeGreaterThan(0);
  }, 120_000);

  test("a host that is cut off for long goes on on its keepers' word, and nobody is let in elsewhere before that is over", () => {
    let [extended, heldBack] = [0, 0];
    histories(HISTORIES, 30_000, (world, rnd) => {
      wakesAgain(world);
      for (let round = 0; round < 4; round++) {
        const host = world.hosts.find(({ running }) => running !== null) ?? rnd.pick(world.hosts);
        world.unlink(host);
        for (const until = world.now + 55_000 + rnd.int(30_000); world.now < until; ) {
          if (rnd.chance(0.05)) trouble(world, rnd);
          settle(world, rnd.pick([200, 1_000, 2_000]));
        }
        world.link(host);
        if (rnd.chance(0.5)) settle(world, rnd.int(20_000));
      }
      extended += world.keepers.extended;
      heldBack += world.heldBack;
      expect(world.cut).toBe(0);
      recovers(world);
    });
    expect(Math.min(extended, heldBack)).toBeGreaterThan(HISTORIES);
  }, 120_000);

  test("clocks that jump by hours never wedge it", () => {
    histories(HISTORIES / 4, 10_000, (world, rnd) => {
      for (let step = 0; step < STEPS; step++) {
        if (rnd.chance(0.05)) world.skew = rnd.int(7_200_000) - 3_600_000;
        try {
          act(world, rnd);
        } catch (error) {
          // Beyond the margin the lease alone does not keep two writers apart; the keepers' promise does.
          if (/was opened on/.test(String(error))) return;
          throw error;
        }
      }
      recovers(world);
    });
  }, 120_000);

  test("a deletion ends, and leaves nothing on any host that can be reached", () => {
    histories(HISTORIES / 4, 20_000, (world, rnd) => {
      for (let step = 0; step < STEPS / 2; step++) act(world, rnd);
      world.isDeleted = true;
      world.do({ type: "delete" });
      heal(world);
      settle(world, 300_000);
      const { state } = world;
      expect([state.status, state.copies, state.leaving]).toEqual(["deleting", [], []]);
      for (const host of world.hosts) expect([host.running, host.copy]).toEqual([null, false]);
    });
  }, 120_000);
});

function heal(world: DatabaseWorld): void {
  world.preparable = true;
  world.skew = 0;
  for (const { cut } of world.keepers.all) cut.clear();
  for (const host of world.hosts) world.link(host);
}

function recovers(world: DatabaseWorld): void {
  heal(world);
  wakesAgain(world);
  restsAgain(world);
}

function wakesAgain(world: DatabaseWorld): void {
  const gateway = gatewayOf(world);
  for (let tries = 0; tries < 60; tries++) {
    if (gateway.sessions.length + gateway.waiting === 0) world.connect(gateway);
    settle(world, 5_000);
    const { state } = world;
    if (state.status === "ready" && gateway.sessions.includes(state.term)) return;
  }
  throw new Error(`a client does not get in: ${JSON.stringify(world.state)} ${JSON.stringify(gateway)}`);
}

function restsAgain(world: DatabaseWorld): void {
  for (const gateway of world.gateways) {
    while (gateway.sessions.length > 0) world.leave(gateway);
    gateway.waiting = 0;
    if (gateway.up) world.say(gateway);
  }
  settle(world, 120_000);
  const { state } = world;
  expect([state.status, state.leaving, deadlineOf(state, world.facts())]).toEqual(["stopped", [], null]);
  expect(world.hosts.map(({ running }) => running)).toEqual([null, null]);
}
