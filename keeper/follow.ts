import { setTimeout as sleep } from "node:timers/promises";
import { DATABASE_SETTING, slotName, standbyName, TERM_SETTING, type WriterAddress } from "../contract/keeper.ts";
import { Connection } from "../postgres/connection.ts";
import { formatLsn, type Lsn, maxLsn, SEGMENT_BYTES, startOfSegmentAt } from "../postgres/lsn.ts";
import { ServerError } from "../postgres/message.ts";
import {
  dropSlot,
  ensureSlot,
  identifySystem,
  type System,
  show,
  timelineHistory,
} from "../postgres/replication/commands.ts";
import { type Ended, ReplicationStream } from "../postgres/replication/stream.ts";
import { type Ancestor, parseHistory } from "../postgres/replication/timeline.ts";
import { Diverged, type TimelineLog } from "./timeline-log.ts";

/** What of the log is read again on every connection, to see that the writer's is still the same. */
const OVERLAP_BYTES = 64n * 1024n;
const QUIET_MS = 15_000;
/** A writer that starts is there within milliseconds, and its first commit waits for this. */
const EAGER_MS = 3_000;
const EAGER_EVERY_MS = 4;
const LAZY_EVERY_MS = 500;
/** Until it is seen whether there is room on the disk again. */
const FULL_EVERY_MS = 1_000;
const SLOT_IN_USE = "55006";
const NO_SUCH_SLOT = "42704";

/** What the log lacks cannot be had from the writer any more: a new one has to begin with a new base backup. */
export class Gap extends Error {}

/** How a database's log is changed by what a writer sends. The follower holds no state that outlives it. */
export type Follower = {
  keeper: string;
  database: string;
  writer: WriterAddress;
  signal: AbortSignal;
  /** Null while there is no log that could be continued. */
  log(): TimelineLog | null;
  systemIdentifier(): string | null;
  /** Makes a log that begins with a base backup of the writer. */
  beginAnew(system: System, histories: Histories): Promise<void>;
  /** A log for `timeline`, to be filled from the segment of `from` on; it becomes the database's log by `adoptLog`. */
  branch(timeline: number, from: Lsn): Promise<TimelineLog>;
  /** Durably: this log is the database's from here on. */
  adoptLog(log: TimelineLog): Promise<void>;
  /** Durably: the log is that of the writer's term, which began here or before. */
  adoptTerm(from: Lsn): Promise<void>;
  keepHistory(timeline: number, text: string): Promise<void>;
  /** So much is on disk that was not, and it took so long. */
  synced(bytes: number, seconds: number): void;
  /** Segments are full, or `flushed` has moved. */
  progressed(full: readonly number[]): void;
  /** Throws when there is no room for more of the log. */
  room(): Promise<void>;
  /** Whether what was flushed may be confirmed: not before it could be restored. */
  isRestorable(): boolean;
  note(line: string): void;
  changed(state: "waiting" | "catching_up" | "streaming" | "diverged", reason: string | null): void;
};

/** The text of the history file of each timeline that has one. */
export type Histories = ReadonlyMap<number, string>;

export type About = Pick<Follower, "database" | "writer" | "systemIdentifier">;

/** Follows a writer until `signal` aborts, through every loss of the connection. Ends by itself only when the writer's log is another one. */
export async function follow(follower: Follower): Promise<void> {
  const { signal, writer } = follower;
  const started = performance.now();
  while (!signal.aborted) {
    try {
      await followOnce(follower);
      follower.changed("waiting", "the writer closed the connection");
    } catch (error) {
      if (signal.aborted) return;
      const { message } = error as Error;
      if (error instanceof Diverged && !writer.anew) return follower.changed("diverged", message);
      const isOwn = isOfDisk(error);
      follower.changed("waiting", isOwn ? `its own disk: ${message}` : `${writer.host}:${writer.port}: ${message}`);
      if (isOwn) await sleep(FULL_EVERY_MS, undefined, { signal }).catch(() => {});
    }
    const eager = performance.now() - started < EAGER_MS;
    await sleep(eager ? EAGER_EVERY_MS : LAZY_EVERY_MS, undefined, { signal }).catch(() => {});
  }
}

const isOfDisk = (error: unknown): boolean =>
  ["ENOSPC", "EDQUOT", "EIO", "EROFS"].includes((error as NodeJS.ErrnoException).code ?? "");

async function followOnce(follower: Follower): Promise<void> {
  const { keeper, writer, signal } = follower;
  // The writer would take one that cannot keep anything for a standby.
  await follower.room();
  const connection = await connect(follower, standbyName(keeper, writer.term));
  try {
    const known = await verify(connection, follower);
    const histories = await readHistories(connection, known.timeline);
    await ensureSlot(connection, slotName(keeper));
    if (follower.log() === null) await follower.beginAnew(known, histories);
    // A base backup begins behind where the writer was.
    const system = await identifySystem(connection);
    for (const [timeline, text] of histories) await follower.keepHistory(timeline, text);
    const history = parseHistory(histories.get(system.timeline) ?? "");
    while (!signal.aborted && (await followTimeline(connection, follower, system, history)));
  } catch (error) {
    const isGivenUp = error instanceof Diverged && writer.anew;
    if (!(error instanceof Gap) && !isGivenUp) throw error;
    follower.note(
      isGivenUp
        ? `what is kept is given up for the writer's log: ${error.message}`
        : `the writer does not have what is missing here: ${error.message}`,
    );
    connection.destroy();
    await startOver(follower);
  } finally {
    connection.end();
    connection.destroy();
  }
}

/** Its slot is of no use any more, and would keep a new one from being made. */
async function startOver(follower: Follower): Promise<void> {
  const { keeper, signal } = follower;
  const connection = await connect(follower, `${keeper}_begins`);
  try {
    const system = await verify(connection, beginning(follower));
    const histories = await readHistories(connection, system.timeline);
    for (let attempt = 0; ; attempt++) {
      const error = await dropSlot(connection, slotName(keeper)).then(
        () => null,
        (each: Error) => each,
      );
      if (error === null || (error instanceof ServerError && error.code === NO_SUCH_SLOT)) break;
      // The server has not noticed yet that the other connection is over.
      if (!(error instanceof ServerError) || error.code !== SLOT_IN_USE || attempt === 100) throw error;
      await sleep(50, undefined, { signal });
    }
    await ensureSlot(connection, slotName(keeper));
    await follower.beginAnew(system, histories);
  } finally {
    connection.end();
  }
}

/** Where what is kept may be given up, even another cluster takes its place. */
export const beginning = (about: About): About =>
  about.writer.anew ? { ...about, systemIdentifier: () => null } : about;

/** A connection that is over when `signal` aborts: a writer that stands still would never end it, nor answer what it is asked. */
export async function connect(
  { writer, signal }: Pick<Follower, "writer" | "signal">,
  applicationName: string,
): Promise<Connection> {
  const { host, port, user, password, certificate } = writer;
  const connection = await Connection.open({
    ...{ host, port, user, password, certificate, signal, applicationName },
    replication: "physical",
    timeoutMs: 5_000,
  });
  const stop = () => connection.destroy(new Error("told to stop"));
  signal.addEventListener("abort", stop);
  void connection.closed.then(() => signal.removeEventListener("abort", stop));
  if (signal.aborted) stop();
  return connection;
}

/** Whose writer is it that answers there? Ports are used again, and a writer of an older term may still be running. */
export async function verify(connection: Connection, { database, writer, systemIdentifier }: About): Promise<System> {
  const says = { database: await show(connection, DATABASE_SETTING), term: await show(connection, TERM_SETTING) };
  if (says.database !== database) throw new Error(`it is the writer of ${says.database ?? "something else"}`);
  if (says.term !== String(writer.term)) throw new Error(`it is the writer of term ${says.term}, not ${writer.term}`);
  const size = await show(connection, "wal_segment_size");
  if (size !== `${SEGMENT_BYTES / 1024 ** 2}MB`) throw new Error(`its segments are of ${size}; only 16MB is supported`);
  const system = await identifySystem(connection);
  const known = systemIdentifier();
  if (known !== null && known !== system.identifier)
    throw new Diverged(`it is another cluster: system identifier ${system.identifier} instead of ${known}`);
  return system;
}

async function readHistories(connection: Connection, timeline: number): Promise<Histories> {
  const histories = new Map<number, string>();
  if (timeline === 1) return histories;
  const text = await timelineHistory(connection, timeline);
  histories.set(timeline, text);
  for (const { timeline: ancestor } of parseHistory(text))
    if (ancestor > 1) histories.set(ancestor, await timelineHistory(connection, ancestor));
  return histories;
}

/** Follows one timeline to its end. Answers whether another one comes after it. */
async function followTimeline(
  connection: Connection,
  follower: Follower,
  system: System,
  history: Ancestor[],
): Promise<boolean> {
  const log = follower.log();
  if (log === null) return false;
  if (log.timeline === system.timeline) {
    if (log.position > system.flushedTo) {
      const [ends, kept] = [formatLsn(system.flushedTo), formatLsn(log.position)];
      throw new Diverged(`the writer's log ends at ${ends}, before what is kept: ${kept}`);
    }
    await take(connection, follower, { log, from: startOf(log), branch: null, termAt: system.flushedTo });
    return false;
  }
  const at = history.findIndex(({ timeline }) => timeline === log.timeline);
  const branch = history[at]?.until;
  if (branch === undefined)
    throw new Diverged(`the writer is on timeline ${system.timeline}, which is no branch of ${log.timeline}`);
  // The part of the old timeline that is missing here comes first.
  if (log.position < branch) {
    await take(connection, follower, { log, from: startOf(log), branch: null, termAt: null });
    if (log.position < branch) throw new Error(`timeline ${log.timeline} ended early`);
  }
  const next = history[at + 1]?.timeline ?? system.timeline;
  const isLast = next === system.timeline;
  const branched = await follower.branch(next, branch);
  try {
    const from = startOfSegmentAt(branch);
    await take(connection, follower, { log: branched, from, branch, termAt: isLast ? system.flushedTo : null });
  } finally {
    if (follower.log() !== branched) await branched.close();
  }
  return !isLast;
}

/** From a little before its end, so that what comes can be compared with what is here. */
const startOf = (log: TimelineLog): Lsn =>
  maxLsn(startOfSegmentAt(log.position), log.position > OVERLAP_BYTES ? log.position - OVERLAP_BYTES : 0n);

type Taking = {
  log: TimelineLog;
  from: Lsn;
  /** For a log that is not the database's yet: once it has come this far it becomes that. */
  branch: Lsn | null;
  /**
   * Where the writer was when it was asked. A log that has come this far, and was the same as far as it was known, holds everything from before
   * the writer's term; only then may it say that it is that term's, for the log of a later term counts for more than a longer one.
   */
  termAt: Lsn | null;
};

/** Takes in one timeline's log until the writer says that the timeline has ended, or the connection does. */
async function take(connection: Connection, follower: Follower, taking: Taking): Promise<Ended> {
  const { log, from, branch, termAt } = taking;
  const { keeper, signal } = follower;
  const known = log.position;
  let compared = from === known;
  let isBranched = branch === null;
  let isTaken = false;
  const slot = slotName(keeper);
  const stream = await ReplicationStream.start(connection, { slot, from, timeline: log.timeline }).catch(translate);
  const settle = async () => {
    if (!compared) return;
    if (!isBranched && branch !== null && log.position >= branch) {
      await follower.adoptLog(log);
      isBranched = true;
    }
    if (isTaken || !isBranched || termAt === null || log.position < termAt) return;
    await follower.adoptTerm(termAt);
    isTaken = true;
    follower.changed("streaming", null);
  };
  if (!(stream instanceof ReplicationStream)) {
    await settle();
    return stream;
  }
  const confirm = (replyWanted = false) => {
    if (signal.aborted) return;
    // Nothing counts as kept that could not be restored.
    const kept = isTaken && follower.isRestorable() ? log.position : 0n;
    stream.confirm(kept, kept, replyWanted);
  };
  let heard = performance.now();
  const watch = setInterval(() => {
    const quiet = performance.now() - heard;
    if (quiet > 2 * QUIET_MS) connection.destroy(new Error("the writer has fallen silent"));
    else if (quiet > QUIET_MS) confirm(true);
  }, QUIET_MS / 3);
  follower.changed("catching_up", null);
  try {
    await settle();
    confirm();
    for (;;) {
      const arrival = await stream.receive().catch(translate);
      heard = performance.now();
      const { position } = log;
      const full = await log.append(arrival.pieces);
      await log.sync();
      if (log.position > position) follower.synced(Number(log.position - position), (performance.now() - heard) / 1000);
      if (signal.aborted) return "server stops";
      const last = arrival.pieces.at(-1);
      if (last && last.start + BigInt(last.data.length) >= known) compared = true;
      await settle();
      if (last || arrival.replyWanted) confirm();
      if (last && isBranched) follower.progressed(full);
      if (arrival.ended) return arrival.ended;
    }
  } finally {
    clearInterval(watch);
  }
}

function translate(error: unknown): never {
  // 58P01: the segment is not there any more. 55000: so says the slot, which was cut off.
  if (error instanceof ServerError && (error.code === "58P01" || error.code === "55000")) throw new Gap(error.message);
  throw error;
}
