import { remote } from "../remote.ts";
import { one } from "./workloads.ts";

/**
 * Tells instances that somebody waits for them. Nothing of it is stored: it is said again while somebody waits. Resolves when they were told, or could
 * not be. Never rejects.
 */
export async function passWanted(
  sql: SqlStorage,
  env: Pick<Env, "INSTANCE">,
  routes: readonly { id: string; generation: number }[],
): Promise<void> {
  const owners = routes.flatMap(({ id, generation }) => {
    const row = one(sql, id);
    // What a former route led to may have been paused by somebody else since.
    const isPresent = row?.want === "running" && row.generation === generation && row.spec?.runtime === "proxy";
    return isPresent ? [row.owner] : [];
  });
  await Promise.allSettled([...new Set(owners)].map((owner) => remote(env.INSTANCE, owner).wanted()));
}
