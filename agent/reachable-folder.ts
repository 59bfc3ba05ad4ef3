import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { lstat, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { type Account, canReach } from "./process/account.ts";

/** Where a system keeps what its services must not lose. */
const OUTSIDE = process.platform === "darwin" ? "/usr/local/var" : "/var/lib";

/**
 * A folder for what another user than the agent's works with: in the agent's data folder; where that is closed to this user (below root's home, say) one
 * of its own elsewhere. Once that is there it is used, whatever becomes of the rights of the other.
 */
export async function reachableFolder(dataDir: string, name: string, account: Account): Promise<string> {
  const inside = join(dataDir, name);
  const tag = createHash("sha256").update(inside).digest("hex").slice(0, 12);
  const outside = join(OUTSIDE, `lamplighter-${tag}`);
  if (!existsSync(outside) && (account === null || (await canReach(dataDir, account)))) return inside;
  await mkdir(outside, { recursive: true, mode: 0o711 });
  const found = await lstat(outside);
  if (!found.isDirectory() || found.uid !== process.getuid?.()) throw new Error(`${outside} belongs to somebody else`);
  return outside;
}
