import { LeaseAnswer } from "../../contract/keeper.ts";
import type { KeeperAddress, WriterOrder } from "../../contract/writer.ts";
import { type Moment, thisMoment } from "./lease.ts";
import { lastGivenBy } from "./quorum.ts";

export type KeptWriter = Pick<WriterOrder, "database" | "term" | "keepers" | "quorum">;

const ANSWER_MS = 4_000;

/**
 * While the control plane does not answer, the keepers say whether writers may go on: as many of them as acknowledge a commit. A successor needs
 * the promise of enough for one of these to be among them, and that one tells how long its word still counts.
 */
export class KeeperLeases {
  /** By database and term: when each keeper was last asked that said yes. */
  readonly #given = new Map<string, Map<string, Moment>>();
  readonly #now: () => Moment;

  constructor(now = thisMoment) {
    this.#now = now;
  }

  /** Asks every keeper once for all writers, and tells of each writer that may go on since when that counts, as soon as that is known. */
  async ask(writers: readonly KeptWriter[], mayGoOn: (writer: KeptWriter, sent: Moment) => void): Promise<void> {
    const current = new Set(writers.map(keyOf));
    for (const key of this.#given.keys()) if (!current.has(key)) this.#given.delete(key);
    // Where there are no keepers there is no other copy, and so nobody who could take its place.
    for (const writer of writers) if (writer.quorum === 0) mayGoOn(writer, this.#now());
    const keepers = new Map<string, { keeper: KeeperAddress; of: KeptWriter[] }>();
    for (const writer of writers)
      for (const keeper of writer.keepers) {
        const key = JSON.stringify(keeper);
        const known = keepers.get(key) ?? { keeper, of: [] };
        known.of.push(writer);
        keepers.set(key, known);
      }
    const asking = [...keepers.values()].map(async ({ keeper, of }) => {
      const sent = this.#now();
      const given = new Set(await askOne(keeper, of));
      for (const writer of of.filter(({ database }) => given.has(database))) {
        const since = this.#note(writer, keeper.name, sent);
        if (since !== null) mayGoOn(writer, since);
      }
    });
    await Promise.allSettled(asking);
  }

  #note(writer: KeptWriter, keeper: string, sent: Moment): Moment | null {
    const given = this.#given.get(keyOf(writer)) ?? new Map<string, Moment>();
    given.set(keeper, sent);
    this.#given.set(keyOf(writer), given);
    return lastGivenBy(writer.quorum, [...given.values()]);
  }
}

const keyOf = ({ database, term }: KeptWriter): string => `${database} ${term}`;

async function askOne({ url, token }: KeeperAddress, writers: readonly KeptWriter[]): Promise<string[]> {
  const response = await fetch(`${url.replace(/\/+$/, "")}/leases`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify({ writers: writers.map(({ database, term }) => ({ database, term })) }),
    signal: AbortSignal.timeout(ANSWER_MS),
  });
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  return LeaseAnswer.parse(await response.json()).given;
}
