import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { type KeptDatabase, slotName, standbyName, type WriterAddress } from "../../contract/keeper.ts";
import type { Note } from "../../contract/workload.ts";
import type { WriterOrder } from "../../contract/writer.ts";
import type { Connection } from "../../postgres/connection.ts";
import { parseLsn } from "../../postgres/lsn.ts";
import { literal } from "../../postgres/replication/commands.ts";
import { scramVerifier } from "../../postgres/scram-client.ts";
import { KeeperClient, KeeperFailure } from "./keeper-client.ts";
import type { Kept } from "./ladder.ts";
import { NotStarted } from "./not-started.ts";
import { REPLICATION_USER } from "./parameters.ts";
import { keptOf, leaseLeftMs, mostComplete } from "./quorum.ts";

type Answer = { client: KeeperClient; status: KeptDatabase };

/** What the keepers promised, and what they have. `kept` is null when too few answered. */
export type Promised = {
  answers: readonly Answer[];
  source: KeeperClient | null;
  kept: Kept | null;
  /** Why others do not answer. */
  failures: readonly string[];
  /** An older writer may go on until then, ms of `performance.now()`, on the keepers' word. */
  olderUntil: number;
};

/** Where a writer is reached, and by which certificate it is known. */
export type WriterPlace = Pick<WriterAddress, "host" | "port" | "certificate">;

const ASK_EVERY_MS = 500;
const LOOK_EVERY_MS = 2;

/** The keepers of one database, as the writer of one term has to do with them. */
export class KeeperGroup {
  readonly #order: WriterOrder;
  readonly #clients: readonly KeeperClient[];

  constructor(order: WriterOrder) {
    this.#order = order;
    this.#clients = order.keepers.map((keeper) => new KeeperClient(keeper, order.database));
  }

  async promises(): Promise<Promised> {
    const { term, keepers, quorum, served_term: servedTerm } = this.#order;
    if (keepers.length === 0) return { answers: [], source: null, kept: unkept, failures: [], olderUntil: 0 };
    const asked = this.#clients.map(async (client) => ({ client, status: await client.promise(term) }));
    const outcomes = await Promise.allSettled(asked);
    for (const { status, ...outcome } of outcomes)
      if (status === "rejected" && "reason" in outcome && isStale(outcome.reason))
        throw new NotStarted("stale_term", outcome.reason.message);
    const answers = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
    const source = mostComplete(answers, keepers.length, quorum);
    const statuses = answers.map(({ status }) => status);
    const kept = source && keptOf(statuses, source.status, { keepers: keepers.length, quorum, servedTerm });
    const failures = outcomes.flatMap((outcome) =>
      outcome.status === "rejected" ? [(outcome.reason as Error).message] : [],
    );
    const olderUntil = performance.now() + leaseLeftMs(statuses);
    return { answers, source: source?.client ?? null, kept, failures, olderUntil };
  }

  /** Has the keepers follow the writer. Those that do not answer are told later, by `tend`. */
  async tell(address: WriterPlace): Promise<void> {
    const writer = this.#addressOf(address);
    await Promise.allSettled(this.#clients.map((client) => client.follow(writer)));
  }

  /**
   * Until enough keepers have everything that the writer began with. Earlier nobody may look: what is read then could be lost again. False
   * when the keepers say that it is another log.
   */
  async untilFollowed(connection: Connection, timeoutMs: number): Promise<boolean> {
    const { keepers, quorum, term } = this.#order;
    if (keepers.length === 0) return true;
    const [row] = await connection.query("SELECT pg_current_wal_flush_lsn() AS lsn");
    const begun = parseLsn(row?.lsn ?? "");
    const end = performance.now() + timeoutMs;
    for (let askAt = performance.now() + ASK_EVERY_MS; ; ) {
      const followers = await this.#followers(connection);
      if (followers.filter(({ flushed }) => flushed && parseLsn(flushed) >= begun).length >= quorum) return true;
      const now = performance.now();
      if (now > askAt) {
        askAt = now + ASK_EVERY_MS;
        const failures: string[] = [];
        const known = await this.#statuses(this.#clients, failures);
        const diverged = known.filter(({ status }) => status.following.state === "diverged").length;
        if (keepers.length - diverged < quorum) return false;
        if (known.length > 0 && known.every(({ status }) => status.promised_term > term))
          throw new NotStarted("stale_term", "the keepers have promised a later term meanwhile");
        if (now > end)
          throw new NotStarted(
            "keepers_unreachable",
            `no keeper follows: ${[...reasons(known), ...failures].join("; ")}`,
          );
      }
      await sleep(LOOK_EVERY_MS);
    }
  }

  /**
   * Brings those keepers back that do not follow though they should: that were away when the others were told, or lost their disk. One whose
   * log is another one gives it up once enough others follow, for then everything that was acknowledged is with them. Answers what clients
   * notice of those that are away.
   */
  async tend(connection: Connection, address: WriterPlace): Promise<Note[]> {
    const { keepers, quorum, term } = this.#order;
    if (keepers.length === 0) return [];
    await this.#dropSlots(connection);
    // One that catches up confirms nothing yet.
    const confirming = (await this.#followers(connection)).filter(
      ({ flushed }) => flushed !== null && flushed !== "0/0",
    );
    const following = new Set(confirming.map(({ name }) => name));
    const writer = this.#addressOf(address);
    const away = this.#clients.filter(({ name }) => !following.has(standbyName(name, term)));
    const failures: string[] = [];
    const known = await this.#statuses(away, failures);
    for (const { client, status } of known) {
      const { state, term: ofTerm } = status.following;
      if (state === "diverged" && following.size >= quorum)
        await client.follow({ ...writer, anew: true }).catch(() => {});
      else if (ofTerm === null || ofTerm < term) await client.follow(writer).catch(() => {});
    }
    return away.length === 0 ? [] : [keepersAway(following.size, this.#order, [...reasons(known), ...failures])];
  }

  /** The writer is off. */
  async release(): Promise<void> {
    await Promise.allSettled(this.#clients.map((client) => client.release(this.#order.term)));
  }

  /** The keeper that has the most of another database, which is not to be changed. */
  async richestOf(database: string): Promise<KeeperClient | null> {
    const clients = this.#order.keepers.map((keeper) => new KeeperClient(keeper, database));
    const answers = await this.#statuses(clients);
    return mostComplete(answers, answers.length, 1)?.client ?? null;
  }

  /** Always the same for a password, so that it is written once; whoever could read it here could read the password too. */
  verifier(): Promise<string> {
    const { database, replication_password: password } = this.#order;
    const salt = createHash("sha256").update(`${database}:${password}`).digest().subarray(0, 16);
    return scramVerifier(password, salt);
  }

  /** Those of keepers that are not this database's any more would hold the log for nobody. */
  async #dropSlots(connection: Connection): Promise<void> {
    const ours = this.#order.keepers.map(({ name }) => literal(slotName(name))).join(", ");
    await connection.query(
      `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
       WHERE NOT active AND starts_with(slot_name, ${literal(slotName(""))}) AND slot_name NOT IN (${ours})`,
    );
  }

  async #followers(connection: Connection): Promise<{ name: string; flushed: string | null }[]> {
    const { keepers, term } = this.#order;
    const names = keepers.map(({ name }) => literal(standbyName(name, term))).join(", ");
    const rows = await connection.query(
      `SELECT application_name AS name, flush_lsn FROM pg_stat_replication
       WHERE application_name IN (${names}) AND state = 'streaming'`,
    );
    return rows.map(({ name, flush_lsn }) => ({ name: name ?? "", flushed: flush_lsn ?? null }));
  }

  async #statuses(clients: readonly KeeperClient[], failures: string[] = []): Promise<Answer[]> {
    const asked = clients.map(async (client) => ({ client, status: await client.status() }));
    const outcomes = await Promise.allSettled(asked);
    return outcomes.flatMap((outcome) => {
      if (outcome.status === "fulfilled") return [outcome.value];
      failures.push((outcome.reason as Error).message);
      return [];
    });
  }

  #addressOf({ host, port, certificate }: WriterPlace): WriterAddress {
    const { term, replication_password: password } = this.#order;
    return { term, host, port, user: REPLICATION_USER, password, certificate, anew: false };
  }
}

const unkept: Kept = {
  ...{ promisedTerm: 0, writerTerm: 0, systemIdentifier: null, timeline: 0 },
  ...{ flush: null, restorable: false, baseBytes: 0, forgotten: "no" },
};

function keepersAway(following: number, { keepers, quorum }: WriterOrder, why: readonly string[]): Note {
  const message = `${following} of ${keepers.length} keepers follow (${why.join("; ")})`;
  return following < quorum
    ? { code: "commits_wait", message: `commits wait, for ${quorum} must confirm them: ${message}` }
    : { code: "keepers_away", message };
}

const isStale = (reason: unknown): reason is KeeperFailure =>
  reason instanceof KeeperFailure && reason.code === "stale_term";

const reasons = (known: readonly Answer[]): string[] =>
  known.map(({ status: { keeper, following } }) => `${keeper}: ${following.reason ?? following.state}`);
