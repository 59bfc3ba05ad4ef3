// Random histories of a database, its hosts, its keepers, gateways and clients.
import { describe, expect, test } from "vitest";
import { deadlineOf } from "../../objects/database/letters.ts";
import { random } from "../random.ts";
import { gatewayOf, report, settle } from "./database-settling.ts";
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
const keepersOf = (seed: number) => KEEPERS[seed % KEEPERS.length];

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
