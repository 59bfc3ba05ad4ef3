// The lease under any order of what a control plane may say and clients may do, with the time in our hands.
import fc from "fast-check";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { GatewayFrame, LeaseFrame } from "../../contract/gateway.ts";
import { noCounts } from "../../gateway/counters.ts";
import type { LeaseEar } from "../../gateway/directory.ts";
import type { Grant, Guest } from "../../gateway/guest.ts";
import { Lease } from "../../gateway/lease.ts";

const TTL_MS = 30_000;
const endpoint = { host: "127.0.0.1", port: 5432, tls: null };

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

type Sent = { frame: GatewayFrame; at: number };

/** A lease, its line, and what has been said on it. */
class World {
  readonly lease: Lease;
  readonly sent: Sent[] = [];
  readonly grants: Grant[] = [];
  readonly aborts: AbortController[] = [];
  ended = false;
  now = 0;
  /** What the rules say, kept beside. */
  readySince = false;
  highest = 0;
  expiresAt = 0;
  /** The term that it knows of and has not heard to be over, and since when an answer is waited for: for a control plane that is away. */
  known = 0;
  askedAt: number | null = null;
  unanswered: number[] = [];
  wrong: string[] = [];
  /** Sessions that began while the control plane did not answer. */
  alone = 0;
  #ear: LeaseEar | null = null;

  constructor() {
    this.lease = new Lease({
      databaseId: "db_1",
      gateway: "gate",
      directory: {
        lookup: () => Promise.reject(new Error("not asked")),
        converse: (_id, ear) => {
          this.#ear = ear;
          this.askedAt ??= this.now;
          return {
            send: (frame) => this.#say(frame),
            close: () => {
              this.#ear = null;
            },
          };
        },
        close: async () => {},
      },
      counters: noCounts(),
      lingerMs: 60_000,
      awayMs: 20_000,
      log: () => {},
      changed: () => {},
      ended: () => {
        this.ended = true;
      },
      now: () => this.now,
    });
  }

  get open(): boolean {
    return this.#ear !== null;
  }

  #say(frame: GatewayFrame): void {
    this.sent.push({ frame, at: this.now });
    if (frame.kind === "lease") {
      this.unanswered = [...this.unanswered, frame.seq].slice(-8);
      this.askedAt ??= this.now;
    }
    if (frame.kind === "quiet" && frame.quiet) {
      this.readySince = false;
      if (this.lease.sessions + this.lease.waiting > 0) this.wrong.push("said quiet with somebody there");
    }
    if (frame.kind === "release") {
      this.readySince = false;
      this.expiresAt = 0;
      this.askedAt = null;
      if (this.lease.sessions + this.lease.waiting > 0) this.wrong.push("released with somebody there");
    }
  }

  up(): void {
    if (this.#ear) this.unanswered = [];
    this.#ear?.up();
  }

  hear(frame: LeaseFrame): void {
    if (!this.#ear) return;
    if (frame.kind === "granted") {
      const sent = this.sent.find((each) => each.frame.kind === "lease" && each.frame.seq === frame.seq);
      if (sent) this.expiresAt = Math.max(this.expiresAt, sent.at + frame.ttl_ms);
      if (this.unanswered.includes(frame.seq)) {
        this.unanswered = this.unanswered.filter((seq) => seq > frame.seq);
        this.askedAt = null;
      }
    }
    if (frame.kind === "ready" && frame.term >= this.highest) {
      this.readySince = true;
      this.highest = frame.term;
      this.known = frame.term;
    }
    if (frame.kind === "waking" || frame.kind === "failed" || frame.kind === "revoked") {
      this.readySince = false;
      this.known = 0;
    }
    if (frame.kind === "stopped") {
      if (frame.term >= this.highest) this.readySince = false;
      if (frame.term >= this.known) this.known = 0;
      this.highest = Math.max(this.highest, frame.term);
    }
    if (frame.kind === "revoked") this.readySince = false;
    this.#ear.heard(frame);
  }

  /** @param gone the client has left while it was authenticated */
  enter(gone = false): void {
    const abort = new AbortController();
    if (gone) abort.abort(new Error("gone"));
    this.aborts.push(abort);
    const guest: Guest = {
      describe: () => ({ address: "", application_name: "", role: "", since: 0, phase: "waiting" }),
      end: () => {},
      progress: () => {},
    };
    this.lease.enter(guest, abort.signal).then(
      (grant) => {
        this.grants.push(grant);
        if (grant.term < this.highest) this.wrong.push(`let in under term ${grant.term} after ${this.highest}`);
      },
      () => {},
    );
  }
}

type Step =
  | { do: "enter" | "enter, gone" | "abort" | "leave" | "leave, all" | "up" | "quiesce" | "failed" | "waking" }
  | { do: "granted"; back: number }
  | { do: "ready" | "stopped"; term: number }
  | { do: "wait"; ms: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.constant({ do: "enter" } as const) },
  { weight: 4, arbitrary: fc.constantFrom({ do: "leave" } as const, { do: "leave, all" } as const) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(...(["abort", "failed", "enter, gone"] as const).map((what) => ({ do: what }))),
  },
  { weight: 2, arbitrary: fc.constantFrom({ do: "up" } as const, { do: "waking" } as const) },
  { weight: 4, arbitrary: fc.constant({ do: "quiesce" } as const) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant("granted" as const), back: fc.nat(6) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("ready" as const), term: fc.integer({ min: 1, max: 5 }) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("stopped" as const), term: fc.integer({ min: 1, max: 5 }) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 45_000 }) }) },
);

async function take(world: World, one: Step): Promise<void> {
  const before = world.lease.sessions;
  switch (one.do) {
    case "enter":
    case "enter, gone":
      world.enter(one.do === "enter, gone");
      break;
    case "abort":
      world.aborts.at(-1)?.abort(new Error("gone"));
      break;
    case "leave":
      world.grants.shift()?.leave();
      break;
    case "leave, all":
      for (const grant of world.grants.splice(0)) grant.leave();
      break;
    case "up":
      world.up();
      break;
    case "quiesce":
      world.hear({ kind: "quiesce", stop: "s", term: Math.max(1, world.highest) });
      break;
    case "failed":
      world.hear({ kind: "failed", reason: "x", message: "x", retry_after_ms: null });
      break;
    case "waking":
      world.hear({ kind: "waking", phase: "x", message: "x" });
      break;
    case "granted": {
      const leases = world.sent.filter(({ frame }) => frame.kind === "lease");
      const frame = leases.at(-1 - one.back)?.frame;
      if (frame?.kind === "lease") world.hear({ kind: "granted", seq: frame.seq, ttl_ms: TTL_MS, renew_ms: 10_000 });
      break;
    }
    case "ready":
      world.hear({ kind: "ready", term: one.term, endpoint });
      break;
    case "stopped":
      world.hear({ kind: "stopped", term: one.term });
      break;
    case "wait":
      world.now += one.ms;
      vi.advanceTimersByTime(one.ms);
      break;
  }
  if (world.lease.sessions > before) {
    const isAlone = world.askedAt !== null && world.now - world.askedAt >= 1_000;
    if (world.known === 0) world.wrong.push(`${one.do}: let in to what is not known, or known to be over`);
    if (isAlone) world.alone++;
    else if (!world.readySince) world.wrong.push(`${one.do}: let in with no word that it is awake since it said quiet`);
    else if (world.now >= world.expiresAt) world.wrong.push(`${one.do}: let in by a lease that had run out`);
  }
  await Promise.resolve();
  await Promise.resolve();
}

test("nobody is let in on the strength of what may not be so any more, in any order of events", async () => {
  let alone = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 100 }), async (steps) => {
      vi.clearAllTimers();
      const world = new World();
      for (const one of steps) await take(world, one);
      expect(world.wrong).toEqual([]);
      alone += world.alone;
      // However it was left: a control plane that answers gets everybody in.
      if (world.lease.waiting > 0) {
        world.up();
        await take(world, { do: "granted", back: 0 });
        await take(world, { do: "ready", term: 9 });
        await take(world, { do: "granted", back: 0 });
        expect(world.lease.waiting).toBe(0);
      }
      // And with nobody there it ends by itself.
      for (const grant of world.grants) grant.leave();
      world.now += 61_000;
      vi.advanceTimersByTime(61_000);
      expect(world.wrong).toEqual([]);
      expect(world.open).toBe(false);
      expect(world.ended || world.aborts.length === 0).toBe(true);
      expect(vi.getTimerCount()).toBe(0);
    }),
    { numRuns: 5_000, seed: 20261125 },
  );
  expect(alone).toBeGreaterThan(100);
});

test("that somebody has come, or that the last one has left, is said within a second; who comes and goes is not", async () => {
  const world = new World();
  const saidSince = (count: number) =>
    world.sent.slice(count).map(({ frame }) => (frame.kind === "lease" ? frame.sessions + frame.waiting : frame.kind));
  await take(world, { do: "enter" });
  world.up();
  await take(world, { do: "granted", back: 0 });
  await take(world, { do: "ready", term: 1 });
  expect(world.lease.sessions).toBe(1);
  let said = world.sent.length;
  await take(world, { do: "leave" });
  await take(world, { do: "wait", ms: 1_000 });
  expect(saidSince(said)).toEqual([0]);
  await take(world, { do: "granted", back: 0 });
  said = world.sent.length;
  for (let i = 0; i < 3; i++) {
    await take(world, { do: "enter" });
    await take(world, { do: "wait", ms: 500 });
    await take(world, { do: "leave" });
    await take(world, { do: "wait", ms: 500 });
  }
  expect(saidSince(said)).toEqual([]);
  await take(world, { do: "enter" });
  await take(world, { do: "wait", ms: 1_000 });
  expect(saidSince(said)).toEqual([1]);
});
