import { createHash } from "node:crypto";
import { mkdir, stat } from "node:fs/promises";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import type { Account } from "../process/account.ts";
import { giveTo } from "./account.ts";
import type { Cluster } from "./cluster.ts";
import { NotStarted } from "./not-started.ts";
import type { Place } from "./postmaster.ts";

const MOST_SOCKET_PATH = 90;

/** Where a writer runs: its data folder, its port, and a folder for its socket, which is made. */
export async function placeOf({ folder, pgdata }: Cluster, port: number, account: Account): Promise<Place> {
  const wanted = join(folder, "run");
  const short = join(tmpdir(), `lamplighter-${createHash("sha256").update(wanted).digest("hex").slice(0, 12)}`);
  // The kernel takes no longer paths for a socket.
  const socketFolder = wanted.length > MOST_SOCKET_PATH ? short : wanted;
  await mkdir(socketFolder, { recursive: true, mode: 0o700 });
  const own = [userInfo().uid, account?.uid];
  if (!own.includes((await stat(socketFolder)).uid))
    throw new NotStarted("failed", `${socketFolder} is someone else's`);
  await giveTo(account, socketFolder);
  return { pgdata, port, socketFolder };
}
