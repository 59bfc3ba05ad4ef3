import { createWriteStream } from "node:fs";
import { mkdir, readdir, rename, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import type { RestorePlan, RestoreTarget } from "../../contract/keeper.ts";
import { SEGMENT_BYTES } from "../../postgres/lsn.ts";
import type { Account } from "../process/account.ts";
import { giveTo } from "./account.ts";
import { unpack } from "./archive.ts";
import type { Cluster } from "./cluster.ts";
import { type KeeperClient, KeeperFailure } from "./keeper-client.ts";
import { NotStarted } from "./not-started.ts";

const FETCHES_AT_ONCE = 4;
const TELL_EVERY_MS = 1_000;

export type Restored = { plan: RestorePlan; bytes: number };

/**
 * Makes a data folder of what a keeper has: its base backup, and the log since laid out beside it. PostgreSQL replays that at its first start
 * and goes on as a new timeline, so what another copy of the old one may still hold can never be taken for its continuation. What `check` throws ends it
 * before anything is fetched.
 */
export async function restore(
  cluster: Cluster,
  keeper: KeeperClient,
  target: RestoreTarget,
  {
    account,
    told,
    check,
  }: { account: Account; told: (progress: string) => void; check: (plan: RestorePlan) => Promise<void> },
): Promise<Restored> {
  const plan = await keeper.restorePlan(target).catch((error: Error) => {
    // A moment that is asked for and not kept never will be.
    const isNever = target !== null && error instanceof KeeperFailure && error.code === "not_restorable";
    throw isNever ? new NotStarted("not_restorable", error.message) : error;
  });
  await check(plan);
  const come = progress(plan, told);
  const folder = await cluster.clearIncoming();
  const wal = join(cluster.folder, "incoming-wal");
  await rm(wal, { recursive: true, force: true });
  await mkdir(wal, { mode: 0o700 });
  const [bytes] = await Promise.all([
    keeper.base(plan.base.id).then((from) => unpack(from, folder, plan.base.sha256, account, come)),
    fetchLog(keeper, plan, wal, account, come),
  ]);
  await layOut(wal, join(folder, "pg_wal"));
  await rm(wal, { recursive: true });
  const signal = join(folder, "recovery.signal");
  await writeFile(signal, "");
  await giveTo(account, signal);
  await rm(join(folder, "postmaster.pid"), { force: true });
  await cluster.acceptIncoming();
  told("restored from a keeper: replaying the log");
  return { plan, bytes: bytes + plan.segments.reduce((sum, segment) => sum + segment.bytes, 0) };
}

/** Counts what has come, and tells of it now and then: those who wait see that it moves. */
function progress({ base, segments }: RestorePlan, told: (progress: string) => void): (bytes: number) => void {
  const total = segments.reduce((sum, segment) => sum + segment.bytes, base.bytes);
  let [sum, tellAt] = [0, 0];
  const come = (bytes: number): void => {
    sum += bytes;
    if (performance.now() < tellAt) return;
    tellAt = performance.now() + TELL_EVERY_MS;
    told(`restoring from a keeper: ${mebibytes(sum)} of ${mebibytes(total)} MiB`);
  };
  come(0);
  return come;
}

const mebibytes = (bytes: number): number => Math.ceil(bytes / 1024 ** 2);

async function fetchLog(
  keeper: KeeperClient,
  plan: RestorePlan,
  folder: string,
  account: Account,
  come: (bytes: number) => void,
): Promise<void> {
  const wanted: { file: string; bytes: number | null }[] = [
    ...plan.history.map((file) => ({ file, bytes: null })),
    ...plan.segments,
  ];
  const fetchSome = async () => {
    for (let next = wanted.shift(); next; next = wanted.shift()) {
      const { file, bytes } = next;
      const path = join(folder, file);
      const from = bytes === null ? await keeper.log(file) : await keeper.log(file, bytes);
      const into = createWriteStream(path, { mode: 0o600 });
      await pipeline(from, into);
      if (bytes !== null) {
        if (into.bytesWritten < bytes) throw new Error(`the keeper's ${file} is shorter than it said`);
        // PostgreSQL takes only full segments; behind the end of the log come zeroes.
        await truncate(path, SEGMENT_BYTES);
        come(bytes);
      }
      await giveTo(account, path);
    }
  };
  await Promise.all(Array.from({ length: FETCHES_AT_ONCE }, fetchSome));
}

/** The log that is to be replayed, and nothing else: a cold base backup brings its own beginning of it. */
async function layOut(from: string, to: string): Promise<void> {
  for (const entry of await readdir(to, { withFileTypes: true })) if (entry.isFile()) await rm(join(to, entry.name));
  for (const file of await readdir(from)) await rename(join(from, file), join(to, file));
}
