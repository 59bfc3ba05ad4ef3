// The control plane's side of docs/design/gateway.md in memory: what a DatabaseObject has to do for its gateways, without its durability.
import { createHmac, randomBytes } from "node:crypto";
import {
  type Endpoint,
  type GatewayFrame,
  LEASE_RENEW_MS,
  LEASE_TTL_MS,
  LeaseFrame,
  Lookup,
  type LookupQuestion,
  QUIESCE_WITHIN_MS,
} from "../../contract/gateway.ts";
import { bridge, type Credentials, credentials, rolpassword, SCRAM_ITERATIONS } from "../../contract/scram.ts";
import type { DatabaseDirectory, LeaseEar, LeaseLine } from "../../gateway/directory.ts";

type LeaseState = Extract<GatewayFrame, { kind: "lease" }>;
type Held = { ear: LeaseEar; expiresAt: number; state: LeaseState | null; quietFor: string | null; cut: boolean };

export type Writer = {
  start(term: number, tell: (message: string) => void): Promise<Endpoint>;
  stop(): Promise<void>;
};

const MOCK_KEY = randomBytes(32);

/** One database and its leases. */
export class MemoryDatabase {
  readonly id: string;
  readonly role: string;
  readonly name: string;
  readonly salt = randomBytes(16);
  status: "stopped" | "booting" | "ready" | "stopping" = "stopped";
  term = 0;
  starts = 0;
  lookup: Partial<NonNullable<Lookup["database"]>> = {};
  ttlMs = LEASE_TTL_MS;
  renewMs = LEASE_RENEW_MS;
  freshMs = 60_000;
  /** Every frame of every gateway, in order. */
  readonly heard: GatewayFrame[] = [];
  readonly leases = new Map<string, Held>();
  verifiers: Lookup["verifiers"] = [];
  installed = "";
  /** Who wants it awake while it is being stopped. */
  #wanted = false;
  #stop = 0;
  #endpoint: Endpoint | null = null;
  readonly #writer: Writer;

  constructor(id: string, role: string, name: string, writer: Writer) {
    this.id = id;
    this.role = role;
    this.name = name;
    this.#writer = writer;
  }

  /** Makes a password valid beside the former one; the newest is installed in PostgreSQL by the caller. Answers the rolpassword. */
  async rotate(id: string, password: string): Promise<string> {
    const made: Credentials = await credentials(id, password, { salt: this.salt, iterations: SCRAM_ITERATIONS });
    const former = this.verifiers.find((each) => each.id === this.installed);
    this.verifiers = [{ ...made.verifier, bridge: null }];
    if (former) this.verifiers.unshift({ ...former, bridge: await bridge(former, made) });
    this.installed = id;
    for (const held of this.leases.values()) held.ear.heard({ kind: "changed" });
    return rolpassword(made.verifier, this.salt.toString("base64"), SCRAM_ITERATIONS);
  }

  answer(): Lookup {
    return Lookup.parse({
      salt: this.salt.toString("base64"),
      iterations: SCRAM_ITERATIONS,
      verifiers: this.verifiers,
      database: {
        id: this.id,
        installed: this.installed,
        role: this.role,
        name: this.name,
        server_names: [],
        allowed_addresses: [],
        clients_most: 5_000,
        refused: null,
        ...this.lookup,
      },
      fresh_ms: this.freshMs,
      stale_ms: 300_000,
    });
  }

  hear(boot: string, held: Held, frame: GatewayFrame): void {
    this.heard.push(frame);
    if (frame.kind === "release") {
      this.leases.delete(boot);
      return;
    }
    if (frame.kind === "quiet") {
      held.quietFor = frame.quiet ? frame.stop : null;
      if (held.state) held.state.wake = frame.waiting > 0;
      return;
    }
    held.state = frame;
    held.quietFor = null;
    held.expiresAt = Date.now() + this.ttlMs;
    this.leases.set(boot, held);
    this.say(held, { kind: "granted", seq: frame.seq, ttl_ms: this.ttlMs, renew_ms: this.renewMs });
    const tellsAgain = frame.wake || (frame.term !== null && frame.term !== this.term);
    if (this.status === "ready" && this.#endpoint !== null && tellsAgain)
      this.say(held, { kind: "ready", term: this.term, endpoint: this.#endpoint });
    if (frame.wake) this.#wanted = true;
    if (frame.wake && this.status === "stopped") void this.#boot();
  }

  /** The conditional stop: everybody who holds a lease says that nobody is there, and nobody comes until the order is given. */
  async stopIfIdle(): Promise<"stopped" | "abandoned"> {
    if (this.status !== "ready") return "abandoned";
    const stop = `stop${++this.#stop}`;
    this.#wanted = false;
    for (const held of this.leases.values()) this.say(held, { kind: "quiesce", stop, term: this.term });
    const until = Date.now() + QUIESCE_WITHIN_MS;
    const allQuiet = () => [...this.#live()].every((held) => held.quietFor === stop);
    while (!allQuiet() && Date.now() < until) await new Promise((done) => setTimeout(done, 2));
    if (!allQuiet() || this.#wanted) return "abandoned";
    await this.stop();
    return "stopped";
  }

  /** Stops it whoever is there. */
  async stop(): Promise<void> {
    this.status = "stopping";
    await this.#writer.stop();
    this.stopped();
  }

  stopped(): void {
    this.status = "stopped";
    this.#endpoint = null;
    const wanted = [...this.#live()].some((held) => held.state?.wake === true);
    this.broadcast({ kind: "stopped", term: this.term });
    if (this.#wanted || wanted) void this.#boot();
  }

  broadcast(frame: LeaseFrame): void {
    for (const held of this.leases.values()) this.say(held, frame);
  }

  say(held: Held, frame: LeaseFrame): void {
    // As over a wire: later, and only what the schema knows.
    const sent = LeaseFrame.parse(JSON.parse(JSON.stringify(frame)));
    setTimeout(() => held.cut || held.ear.heard(sent), 1);
  }

  *#live(): Iterable<Held> {
    for (const held of this.leases.values()) if (held.expiresAt > Date.now()) yield held;
  }

  async #boot(): Promise<void> {
    this.status = "booting";
    this.term++;
    this.starts++;
    this.#wanted = false;
    try {
      this.#endpoint = await this.#writer.start(this.term, (message) =>
        this.broadcast({ kind: "waking", phase: "spawn", message }),
      );
      this.status = "ready";
      this.broadcast({ kind: "ready", term: this.term, endpoint: this.#endpoint });
    } catch (error) {
      this.status = "stopped";
      this.broadcast({
        kind: "failed",
        reason: "start_failed",
        message: (error as Error).message,
        retry_after_ms: null,
      });
    }
  }
}

/** All databases; `view` gives each gateway its own line to them. */
export class MemoryDirectory {
  readonly databases: MemoryDatabase[] = [];
  lookups = 0;
  /** The control plane does not answer. */
  away = false;
  #boots = 0;

  add(database: MemoryDatabase): MemoryDatabase {
    this.databases.push(database);
    return database;
  }

  async lookup({ role, database }: LookupQuestion): Promise<Lookup> {
    this.lookups++;
    await new Promise((done) => setTimeout(done, 1));
    if (this.away) throw new Error("away");
    const found = this.databases.find((each) => each.role === role && each.name === database);
    if (found) return found.answer();
    const salt = createHmac("sha256", MOCK_KEY).update(`${role}\0${database}`).digest().subarray(0, 16);
    return {
      salt: salt.toString("base64"),
      iterations: SCRAM_ITERATIONS,
      verifiers: [],
      database: null,
      fresh_ms: 10_000,
      stale_ms: 10_000,
    };
  }

  view(boot = `boot${++this.#boots}`): DatabaseDirectory {
    return {
      lookup: (question) => this.lookup(question),
      converse: (databaseId, ear) => this.converse(boot, databaseId, ear),
      close: async () => {},
    };
  }

  converse(boot: string, databaseId: string, ear: LeaseEar): LeaseLine {
    const database = this.databases.find((each) => each.id === databaseId);
    const held: Held = { ear, expiresAt: 0, state: null, quietFor: null, cut: false };
    setTimeout(() => held.cut || ear.up(), 1);
    return {
      send: (frame) => {
        const sent = JSON.parse(JSON.stringify(frame)) as GatewayFrame;
        setTimeout(() => this.away || database?.hear(boot, held, sent), 1);
      },
      close: () => {
        held.cut = true;
      },
    };
  }
}
