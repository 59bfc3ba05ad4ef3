import { mkdir, stat } from "node:fs/promises";
import { userInfo } from "node:os";
import type { Account } from "../process/account.ts";
import { giveTo } from "./account.ts";
import type { Cluster } from "./cluster.ts";
import { NotStarted } from "./not-started.ts";
import type { Place } from "./postmaster.ts";

/** Where a writer runs: its data folder, its port, and a folder for its socket, which is made. */
export async function placeOf({ socketFolder, pgdata }: Cluster, port: number, account: Account): Promise<Place> {
  await mkdir(socketFolder, { recursive: true, mode: 0o700 });
  const own = [userInfo().uid, account?.uid];
  if (!own.includes((await stat(socketFolder)).uid))
    throw new NotStarted("failed", `${socketFolder} is someone else's`);
  await giveTo(account, socketFolder);
  return { pgdata, port, socketFolder };
}
