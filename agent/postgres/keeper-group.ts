import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { type KeptDatabase, slotName, standbyName, type WriterAddress } from "../../contract/keeper.ts";
import type { Note } from "../../contract/workload.ts";
import type { KeeperAddress, WriterOrder } from "../../contract/writer.ts";
import type { Connection } from "../../postgres/connection.ts";
import { type Lsn, parseLsn } from "../../postgres/lsn.ts";
import { literal } from "../../postgres/replication/commands.ts";
import { scramVerifier } from "../../postgres/scram-client.ts";
import { KeeperClient, KeeperFailure } from "./keeper-client.ts";
import { answers } from "./keeper-pulse.ts";
import type { Kept } from "./ladder.ts";
import { NotStarted } from "./not-started.ts";
import { REPLICATION_USER } from "./parameters.ts";
import { keptOf, leaseLeftMs, mostComplete } from "./quorum.ts";

/** One that streams. What it has confirmed is 0 while it catches up. */
type Follower = { name: string; sent: Lsn; flushed: Lsn };

/** `isLasting`: it was so when it was looked at before, too. */
export type Seen = Note & { isLasting?: true };

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
/** One that does not answer must not keep what else is looked at waiting. */
const TEND_MS = 1_000;

/** The keepers of one database, as the writer of one term has to do with them. */
export class KeeperGroup {
  readonly #order: WriterOrder;
  readonly #clients: readonly KeeperClient[];
  /** As they were when `tend` last looked. */
  #before = new Map<string, Follower>();

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
   * @param first the one that had the most, for a copy that may have lost the end of its log: others that had less would not notice
   */
  async untilFollowed(connection: Connection, timeoutMs: number, first: KeeperClient | null): Promise<boolean> {
    const { keepers, quorum, term } = this.#order;
    if (keepers.length === 0) return true;
    const [row] = await connection.query("SELECT pg_current_wal_flush_lsn() AS lsn");
    const begun = parseLsn(row?.lsn ?? "");
    const end = performance.now() + timeoutMs;
    for (let askAt = performance.now() + ASK_EVERY_MS; ; ) {
      const complete = (await this.#followers(connection)).filter(({ flushed }) => flushed >= begun).map(nameOf);
      const isEnough = complete.length >= quorum;
      if (isEnough && (first === null || complete.includes(standbyName(first.name, term)))) return true;
      const now = performance.now();
      if (now > askAt) {
        askAt = now + ASK_EVERY_MS;
        const failures: string[] = [];
        const known = await this.#statuses(this.#clients, failures);
        const diverged = known.filter(({ status }) => status.following.state === "diverged").length;
        const firstIs = known.find(({ client }) => client.name === first?.name)?.status.following.state;
        if (keepers.length - diverged < quorum || firstIs === "diverged") return false;
        // It cannot follow now, for want of room perhaps.
        if (isEnough && firstIs !== "catching_up" && firstIs !== "streaming") return true;
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
  async tend(connection: Connection, address: WriterPlace): Promise<Seen[]> {
    const { keepers, quorum, term } = this.#order;
    if (keepers.length === 0) return [];
    await this.#dropSlots(connection);
    // One that catches up confirms nothing yet.
    const followers = (await this.#followers(connection)).filter(({ flushed }) => flushed > 0n);
    // Of what they had been sent when we last looked, something is still not confirmed. PostgreSQL gives them up later, and they would keep us waiting too.
    const before = this.#before;
    const silent = new Set(followers.filter((each) => each.flushed < (before.get(each.name)?.sent ?? 0n)).map(nameOf));
    // Those that had nothing to confirm are asked: the next commit would wait for one that is paused.
    const still = new Set(followers.filter((each) => each.flushed === before.get(each.name)?.flushed).map(nameOf));
    const mute = await this.#mute(
      ({ name }) => still.has(standbyName(name, term)) && !silent.has(standbyName(name, term)),
    );
    this.#before = new Map(followers.map((each) => [each.name, each]));
    const unheard = new Set([...silent, ...mute]);
    const following = new Set(followers.map(nameOf).filter((name) => !unheard.has(name)));
    const writer = this.#addressOf(address);
    const others = this.#clients.filter(({ name }) => !following.has(standbyName(name, term)));
    const away = others.filter(({ name }) => !unheard.has(standbyName(name, term)));
    const failures = [
      ...[...silent].map((name) => `${name} does not confirm what it was sent`),
      ...mute.map((name) => `${name} does not answer`),
    ];
    const known = await this.#statuses(away, failures, TEND_MS);
    for (const { client, status } of known) {
      const { state, term: ofTerm } = status.following;
      if (state === "diverged" && following.size >= quorum)
        await client.follow({ ...writer, anew: true }).catch(() => {});
      else if (ofTerm === null || ofTerm < term) await client.follow(writer).catch(() => {});
    }
    if (others.length === 0) return [];
    const note = keepersAway(following.size, this.#order, [...reasons(known), ...failures]);
    return [silent.size > 0 ? { ...note, isLasting: true } : note];
  }

  /** The writer is off. */
  async release(): Promise<void> {
    await Promise.allSettled(this.#clients.map((client) => client.release(this.#order.term)));
  }

  /** The keeper that has the most of another database, which is not to be changed. */
  async richestOf(database: string, withinMs?: number): Promise<KeeperClient | null> {
    const clients = this.#order.keepers.map((keeper) => new KeeperClient(keeper, database));
    const answers = await this.#statuses(clients, [], withinMs);
    return mostComplete(answers, answers.length, 1)?.client ?? null;
  }

  /** Since when, ms since 1970, it can be restored to any moment, by the keeper that would be asked; null: to none yet, or none answers. */
  async restorableSince(): Promise<number | null> {
    const client = await this.richestOf(this.#order.database, TEND_MS);
    return (await client?.restorePoints(TEND_MS))?.earliest?.at ?? null;
  }

  /** Always the same for a password, so that it is written once; whoever could read it here could read the password too. */
  verifier(): Promise<string> {
    const { database, replication_password: password } = this.#order;
    const salt = createHash("sha256").update(`${database}:${password}`).digest().subarray(0, 16);
    return scramVerifier(password, salt);
  }

  /** The names, as of standbys, of those that do not answer. */
  async #mute(which: (keeper: KeeperAddress) => boolean): Promise<string[]> {
    const { keepers, term } = this.#order;
    const asked = keepers.filter(which).map(async (keeper) => ({ keeper, isThere: await answers(keeper) }));
    const mute = (await Promise.all(asked)).filter(({ isThere }) => !isThere);
    return mute.map(({ keeper }) => standbyName(keeper.name, term));
  }

  /** Those of keepers that are not this database's any more would hold the log for nobody. */
  async #dropSlots(connection: Connection): Promise<void> {
    const ours = this.#order.keepers.map(({ name }) => literal(slotName(name))).join(", ");
    await connection.query(
      `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
       WHERE NOT active AND starts_with(slot_name, ${literal(slotName(""))}) AND slot_name NOT IN (${ours})`,
    );
  }

  async #followers(connection: Connection): Promise<Follower[]> {
    const { keepers, term } = this.#order;
    const names = keepers.map(({ name }) => literal(standbyName(name, term))).join(", ");
    const rows = await connection.query(
      `SELECT application_name AS name, sent_lsn, flush_lsn FROM pg_stat_replication
       WHERE application_name IN (${names}) AND state = 'streaming'`,
    );
    const position = (lsn: string | null | undefined): Lsn => (lsn ? parseLsn(lsn) : 0n);
    return rows.map(({ name, sent_lsn, flush_lsn }) => ({
      ...{ name: name ?? "", sent: position(sent_lsn), flushed: position(flush_lsn) },
    }));
  }

  async #statuses(clients: readonly KeeperClient[], failures: string[] = [], withinMs?: number): Promise<Answer[]> {
    const asked = clients.map(async (client) => ({ client, status: await client.status(withinMs) }));
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

const nameOf = ({ name }: Follower): string => name;

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
