import { type SourceNeed, SourceStanding } from "../../contract/database-reader.ts";
import { type InstanceState, SLOT } from "../../contract/instance.ts";

/** What an instance needs of the managed database that it reads from, and where that can be read now. */

type Reading = Pick<InstanceState, "job" | "candidate" | "serving" | "replication">;

/** While something of it runs it is told when its source wakes and sleeps; awake it is kept only for what cannot be done otherwise. */
export function sourceNeed(state: Reading, name: string): SourceNeed | null {
  const why = whyAwake(state);
  const follows = state.serving !== null || state.candidate !== null;
  if (why === null && !follows) return null;
  return { follows, reason: why === null ? null : `${why} of ${name}`.slice(0, 200) };
}

function whyAwake({ job, candidate, serving, replication }: Reading): string | null {
  if (job !== null) return job.slot === SLOT.test ? "connection test" : "build";
  if (candidate !== null) return "initial load and verification";
  if (serving === null) return null;
  if (serving.loaded === null) return "initial load";
  if (replication === "resyncing" || replication === "loading") return "resync";
  return serving.settings.keep_source_awake ? "replication, as keep_source_awake has it" : null;
}

export const needsChanged = (before: Reading | null, after: Reading): boolean =>
  JSON.stringify(before && sourceNeed(before, "")) !== JSON.stringify(sourceNeed(after, ""));

export function standingOf(sql: SqlStorage): SourceStanding | null {
  const row = sql.exec<{ body: string }>("SELECT body FROM source_standing").toArray()[0];
  return row ? SourceStanding.parse(JSON.parse(row.body)) : null;
}

/** Keeps it unless something newer is known. Answers whether it was news. */
export function keepStanding(sql: SqlStorage, standing: SourceStanding): boolean {
  const known = standingOf(sql);
  if (known !== null && known.revision >= standing.revision) return false;
  sql.exec("INSERT OR REPLACE INTO source_standing VALUES (1, ?)", JSON.stringify(standing));
  return known?.term !== standing.term || JSON.stringify(known.at) !== JSON.stringify(standing.at);
}
