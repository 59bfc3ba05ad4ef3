import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { BaseBackup, KeptDatabaseId, SegmentRun, TermRange, WriterAddress } from "../contract/keeper.ts";
import { removeFile } from "./durable-file.ts";
import { readSlots, writeSlots } from "./slot-file.ts";

const STATE = "state.slots";
const FORMER_STATE = "state.json";

/** What a keeper knows of a database besides its log. Written durably, before anything follows from a change. */
export const DatabaseState = z.object({
  version: z.literal(1),
  id: KeptDatabaseId,
  promised_term: z.int().nonnegative(),
  writer_term: z.int().nonnegative(),
  remembers_since: z.int().positive().nullable(),
  system_identifier: z.string().nullable(),
  /** The timeline that the log is followed on; 0 while there is no log. */
  timeline: z.int().nonnegative(),
  /** Where the log begins of which nothing is missing since. */
  begin: z.object({ timeline: z.int().positive(), lsn: z.string() }).nullable(),
  terms: z.array(TermRange),
  bases: z.array(BaseBackup),
  /** The writer to follow: kept so that a restarted keeper takes up a waiting commit without being told. */
  writer: WriterAddress.nullable(),
  heard_at: z.int().nullable(),
  shipped: z.object({
    segments: z.array(SegmentRun),
    bases: z.array(z.string()),
    tail: z
      .object({
        term: z.int().positive(),
        timeline: z.int().positive(),
        segment: z.int().nonnegative(),
        bytes: z.int().positive(),
      })
      .nullable(),
  }),
  /** The log began anew: the store may hold objects of the one before. */
  unswept: z.boolean().default(false),
});
export type DatabaseState = z.infer<typeof DatabaseState>;

export const unknownDatabase = (id: string): DatabaseState => ({
  version: 1,
  id,
  promised_term: 0,
  writer_term: 0,
  remembers_since: null,
  system_identifier: null,
  timeline: 0,
  begin: null,
  terms: [],
  bases: [],
  writer: null,
  heard_at: null,
  shipped: { segments: [], bases: [], tail: null },
  unswept: false,
});

export async function readState(folder: string): Promise<DatabaseState | null> {
  const text = (await readSlots(join(folder, STATE))) ?? (await readFormer(folder));
  return text === null ? null : DatabaseState.parse(JSON.parse(text));
}

/** As it was kept before there were slots. */
async function readFormer(folder: string): Promise<string | null> {
  return await readFile(join(folder, FORMER_STATE), "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return null;
    throw error;
  });
}

export async function writeState(folder: string, state: DatabaseState): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await writeSlots(join(folder, STATE), JSON.stringify(state));
  await removeFile(join(folder, FORMER_STATE));
}
