import type { SourceNeed } from "../../contract/database-reader.ts";
import { type InstanceState, SLOT } from "../../contract/instance.ts";

/** What an instance needs of the managed database that it reads from. */

type Reading = Pick<InstanceState, "job" | "candidate" | "serving" | "replication">;

/** While something of it runs it is told when its source wakes and sleeps; awake it is kept only for what cannot be done otherwise. */
export function sourceNeed(state: Reading, name: string): SourceNeed | null {
  const why = whyAwake(state);
  const follows = state.serving !== null || state.candidate !== null;
  if (why === null && !follows) return null;
  return { follows, reason: why === null ? null : `${why} of ${name}`.slice(0, 200) };
}

const JOB: Readonly<Record<number, string>> = { [SLOT.test]: "connection test", [SLOT.release]: "release" };

function whyAwake({ job, candidate, serving, replication }: Reading): string | null {
  if (job !== null) return JOB[job.slot] ?? "build";
  if (candidate !== null) return "initial load and verification";
  if (serving === null) return null;
  if (serving.loaded === null) return "initial load";
  if (replication === "resyncing" || replication === "loading") return "resync";
  return serving.settings.keep_source_awake ? "replication, as keep_source_awake has it" : null;
}

export const needsChanged = (before: Reading | null, after: Reading): boolean =>
  JSON.stringify(before && sourceNeed(before, "")) !== JSON.stringify(sourceNeed(after, ""));
