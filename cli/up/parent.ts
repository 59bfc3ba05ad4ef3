import { setTimeout as sleep } from "node:timers/promises";
import { commandOf } from "./process-table.ts";

/**
 * Resolves when bootstrap.mjs, which started us for `npm start`, has been killed: the user sees it as part of us. Any other parent may end
 * without us (a shell whose job we are), so then it never resolves.
 */
export async function parentDied(signal: AbortSignal): Promise<void> {
  const parent = process.ppid;
  const starter = /(^|[ /])bootstrap\.mjs /.test(`${commandOf(parent) ?? ""} `);
  while (starter && !signal.aborted && process.ppid === parent)
    await sleep(200, undefined, { signal }).catch(() => undefined);
  if (!starter || process.ppid === parent) await new Promise(() => {});
}
