import { remote } from "../remote.ts";
import { one } from "./workloads.ts";

/**
 * Tells instances that somebody asks. Nothing of it is stored: it is said again while that is so. Resolves when they were told, or could not be.
 * Never rejects.
 */
export async function passAsked(
  sql: SqlStorage,
  env: Pick<Env, "INSTANCE">,
  routes: readonly { id: string; generation: number; waits: boolean }[],
): Promise<void> {
  const asked = routes.flatMap(({ id, generation, waits }) => {
    const row = one(sql, id);
    // What a former route led to may have been paused by somebody else since.
    const isPresent = row?.want === "running" && row.generation === generation && row.spec?.runtime === "proxy";
    return isPresent ? [{ owner: row.owner, waits }] : [];
  });
  await Promise.allSettled(asked.map(({ owner, waits }) => remote(env.INSTANCE, owner).asked(waits)));
}
