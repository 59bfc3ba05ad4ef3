import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { type Lsn, parseSegmentName, SEGMENT_BYTES, segmentName, segmentOf, segmentStart } from "../../postgres/lsn.ts";
import { ServerError } from "../../postgres/message.ts";
import type { ControlFile } from "./control-file.ts";
import { NotStarted } from "./not-started.ts";

/** PostgreSQL cannot use the files that it was given. Whether anything can be done about that depends on whose they are. */
export class Damaged extends NotStarted {
  constructor(message: string) {
    super("failed", message);
  }
}

/** data_corrupted, index_corrupted, undefined_file, io_error and internal_error: what it says of files that it cannot use. */
const CODES: ReadonlySet<string> = new Set(["XX001", "XX002", "58P01", "58030", "XX000"]);
/** What a restore would not change, or make worse, under one of those codes: no room, no memory, a port in use, another build of PostgreSQL. */
const OF_THE_HOST =
  /no space left|disk quota|read-only file system|out of memory|cannot allocate memory|too many open files|shared memory|semaphores|could not create any|lock file|incompatible with server/i;

type Complaint = { code: string; message: string };

/** What PostgreSQL gave up on, by its log; see `log_line_prefix`. What it said to those who came too early is not it. */
export function lastComplaint(log: string): Complaint | null {
  for (const line of log.split("\n").reverse()) {
    const [, code = "", level, message = ""] = /\] (\w{5}) .*?(FATAL|PANIC|ERROR): +(.*)/.exec(line) ?? [];
    if (level !== undefined && !message.startsWith("the database system is"))
      return { code, message: `${level}: ${message}` };
  }
  return null;
}

/** Whether it is its data folder that it cannot use, by what it has said. */
export const saysDamage = ({ code, message }: Complaint): boolean => CODES.has(code) && !OF_THE_HOST.test(message);

/** The same of one that runs, and cannot read what every database has. */
export const meetsDamage = (error: unknown): error is ServerError => error instanceof ServerError && saysDamage(error);

/**
 * Up to where the log that a crashed cluster is to replay can go at most: to the end of its last segment. Throws when it has a gap: PostgreSQL itself
 * takes that for the end of the log, and goes on without what came after it. It makes segments one after the other and in full, so a crash leaves none.
 */
export async function mostOfLog(pgdata: string, { redo, timeline }: ControlFile): Promise<Lsn> {
  const folder = join(pgdata, "pg_wal");
  let next = segmentOf(redo);
  // Of whatever timeline: the first one of a new timeline begins as a copy of the last one of the old.
  const names = await readdir(folder).catch(() => [] as string[]);
  const segments = names
    .map((name) => ({ name, number: parseSegmentName(name)?.segment ?? -1 }))
    .filter(({ number }) => number >= next)
    .sort((a, b) => a.number - b.number);
  for (const { name, number } of segments) {
    if (number > next) break;
    if ((await stat(join(folder, name))).size !== SEGMENT_BYTES) throw new Error(`segment ${name} is not whole`);
    next = number + 1;
  }
  if (next === segmentOf(redo) || next <= (segments.at(-1)?.number ?? 0))
    throw new Error(`segment ${segmentName(timeline, next)} is missing`);
  return segmentStart(next);
}

/** Which PostgreSQL made it; null when that cannot be read. */
export async function majorOf(pgdata: string): Promise<number | null> {
  const text = (await readFile(join(pgdata, "PG_VERSION"), "utf8").catch(() => "")).trim();
  return /^\d+$/.test(text) ? Number(text) : null;
}
