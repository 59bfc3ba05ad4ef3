import type { AuditEntry } from "../../contract/event.ts";
import index0001 from "../../migrations/index/0001_create.sql";
import index0002 from "../../migrations/index/0002_tally.sql";
import { commit, setTimer } from "../alarm.ts";
import { post } from "../outbox.ts";
import type { IndexRow, Projection } from "../projection.ts";
import { remote } from "../remote.ts";
import { StoredObject, type Timer } from "../stored-object.ts";
import { ownerOf } from "../workload-owner.ts";
import { helps, type Room } from "./capacity.ts";
import { type Census, takeCensus } from "./census.ts";
import { bodyOf, keepTrail, prune, upsert } from "./entry.ts";
import { type ListQuery, listRows, listTrail, type Slice, type TrailQuery } from "./list.ts";
import { nextPoke, takeStale } from "./sweep.ts";
import { inheritTally, keepTally } from "./tally.ts";

const MIGRATIONS = [
  { id: "index/0001", sql: index0001 },
  { id: "index/0002", sql: index0002 },
];
/** How many waiting deployments are told at a time that room may have come. */
const CALLED_AT_ONCE = 50;
const CALL_AGAIN_MS = 2_000;

const NOTHING: Slice = { keys: [], bodies: [], more: false };

/**
 * A part of the lists: the rows of some namespaces, or (named `cluster`) of hosts and tokens. What it holds was told by the objects; they are
 * the truth. It rests, without an alarm, when no row is in a passing status and nothing waits to be sent.
 */
export class IndexObject extends StoredObject {
  /** The active webhooks as they are stored: asked for after every change that webhooks are told of. */
  #endpoints: string[] | null = null;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env, MIGRATIONS);
  }

  /** Takes what an object tells of itself. What is older than what is known here changes nothing. */
  project({ row, audits, tally }: Projection): void {
    this.change((now) => {
      keepTrail(this.sql, audits);
      if (row.body === null && row.kind === "database") inheritTally(this.sql, row);
      else if (row.body === null) keepTally(this.sql, row, null);
      else if (tally !== undefined) keepTally(this.sql, row, tally);
      const before = row.kind === "host" ? bodyOf(this.sql, "host", row.id) : null;
      if (upsert(this.sql, row, now)) {
        if (row.kind === "webhook") this.#endpoints = null;
        if (row.kind === "host" && row.body !== null) this.#roomChanged(before, row.body, now);
        this.#planSweep();
      }
      prune(this.sql, now);
    });
  }

  /** Keeps an entry of something that is done to a resource without changing it. */
  record(entry: AuditEntry): void {
    this.change((now) => {
      keepTrail(this.sql, [entry]);
      prune(this.sql, now);
    });
  }

  list(query: ListQuery): Slice {
    return this.isBorn ? listRows(this.sql, query) : NOTHING;
  }

  audits(query: TrailQuery): Slice {
    return this.isBorn ? listTrail(this.sql, query) : NOTHING;
  }

  /** How many there are of everything, for figures. */
  census(): Census {
    return this.isBorn ? takeCensus(this.sql) : { counts: [], deployments: [], tallies: [] };
  }

  /** The namespace of what has this id; null when nothing has it, or none is known of it. */
  namespaceOf(kind: IndexRow["kind"], id: string): string | null {
    if (!this.isBorn) return null;
    return (
      this.sql
        .exec<{ namespace: string | null }>(
          "SELECT namespace FROM entry WHERE kind = ? AND id = ? AND gone_at IS NULL",
          kind,
          id,
        )
        .toArray()[0]?.namespace ?? null
    );
  }

  /** Every host, as JSON: what placement chooses from. */
  hosts(): string[] {
    if (!this.isBorn) return [];
    return this.sql
      .exec<{ body: string }>("SELECT body FROM entry WHERE kind = 'host' AND gone_at IS NULL ORDER BY id")
      .toArray()
      .map(({ body }) => body);
  }

  /** Every active webhook, as JSON: whom changes are told. */
  endpoints(): string[] {
    if (!this.isBorn) return [];
    this.#endpoints ??= this.sql
      .exec<{ body: string }>("SELECT body FROM entry WHERE kind = 'webhook' AND status = 'active' AND gone_at IS NULL")
      .toArray()
      .map(({ body }) => body);
    return this.#endpoints;
  }

  /** Remembers a deployment that no host has room for: it is told, once, when some host's room changes for the better. */
  awaitCapacity(deploymentId: string): void {
    this.change(() => {
      this.sql.exec("INSERT INTO waiting VALUES (?, 0) ON CONFLICT (deployment_id) DO NOTHING", deploymentId);
    });
  }

  protected override due({ name }: Timer, now: number): void {
    if (name === "sweep") {
      for (const { kind, id } of takeStale(this.sql, now)) post(this.sql, `poke:${kind}:${id}`, now);
      this.#planSweep();
    }
    if (name === "call") this.#callWaiting(now);
  }

  /** The sweep's timer only moves earlier, or goes: when it rings too early it finds nothing, and that is cheaper than moving it each time. */
  #planSweep(): void {
    const at = nextPoke(this.sql);
    const set =
      this.sql.exec<{ due_at: number }>("SELECT due_at FROM timer WHERE name = 'sweep'").toArray()[0]?.due_at ?? null;
    if (at === null || set === null || at < set) setTimer(this.sql, "sweep", at);
  }

  #roomChanged(before: string | null, body: string, now: number): void {
    if (this.sql.exec("SELECT 1 FROM waiting LIMIT 1").toArray().length === 0) return;
    if (!helps(before === null ? null : (JSON.parse(before) as Room), JSON.parse(body) as Room)) return;
    this.sql.exec("UPDATE waiting SET called = 1");
    this.#callWaiting(now);
  }

  /** Tells the oldest; the others follow when those have been told. Ids sort by the time they were made. */
  #callWaiting(now: number): void {
    const called = this.sql
      .exec<{ deployment_id: string }>(
        "DELETE FROM waiting WHERE deployment_id IN (SELECT deployment_id FROM waiting WHERE called = 1 ORDER BY deployment_id LIMIT ?) RETURNING deployment_id",
        CALLED_AT_ONCE,
      )
      .toArray();
    for (const { deployment_id } of called) post(this.sql, `capacity:${deployment_id}`, now);
    const others = this.sql.exec("SELECT 1 FROM waiting WHERE called = 1 LIMIT 1").toArray().length > 0;
    setTimer(this.sql, "call", others ? now + CALL_AGAIN_MS : null);
  }

  protected override async deliver(key: string): Promise<void> {
    const [what, ...rest] = key.split(":");
    if (what === "capacity") return ownerOf(this.env, rest[0] as string).capacityChanged();
    const [kind, id] = rest as [string, string];
    const passing =
      this.sql.exec("SELECT 1 FROM entry WHERE kind = ? AND id = ? AND poke_at IS NOT NULL", kind, id).toArray()
        .length > 0;
    if (!passing) return;
    await this.#poked(kind, id);
  }

  async #poked(kind: string, id: string): Promise<void> {
    switch (kind) {
      case "host":
        return remote(this.env.HOST, id).poke();
      case "schedule":
        return remote(this.env.SCHEDULE, id).poke();
      case "database":
        return remote(this.env.DATABASE, id).poke();
      case "instance":
        return remote(this.env.INSTANCE, id).poke();
      case "connection":
        return remote(this.env.CONNECTION, id).poke();
      default:
        return remote(this.env.DEPLOYMENT, id).poke();
    }
  }

  /** Whatever is written brings it into being. */
  protected override change<T>(work: (now: number) => T): T {
    this.bear();
    return super.change(work);
  }

  protected override afterCommit(): void {
    this.ctx.waitUntil(this.#sent());
  }

  /** Sends; and when that emptied the outbox, the next of those who wait for room are called at once. */
  async #sent(): Promise<void> {
    await this.outbox.drain();
    for (;;) {
      const waits = this.sql.exec("SELECT 1 FROM timer WHERE name = 'call'").toArray().length > 0;
      const busy = this.sql.exec("SELECT 1 FROM outbox LIMIT 1").toArray().length > 0;
      if (!waits || busy) return;
      commit(this.ctx.storage, () => this.#callWaiting(Date.now()));
      await this.outbox.drain();
    }
  }
}
