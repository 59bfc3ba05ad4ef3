import type { ControlBody } from "../../contract/frame.ts";
import { isDatabaseId, parseWorkloadId } from "../../contract/id.ts";
import { announce } from "../announce.ts";
import type { SlotGeneration } from "../deployment/draft.ts";
import type { Report } from "../deployment/observed.ts";
import { post } from "../outbox.ts";
import { remote } from "../remote.ts";
import { ownerOf } from "../workload-owner.ts";
import { told } from "./assignment.ts";
import { toldHealth, untoldHealth } from "./health.ts";
import { type HostRecord, hostSource } from "./record.ts";
import { allOf, commandOf, put, unsent, untoldOf, type WorkloadRow } from "./workloads.ts";

/** What a letter of a host needs: its books, its owners, and its link. */
export type Sender = {
  env: Pick<Env, "DATABASE" | "DEPLOYMENT" | "INSTANCE" | "CONNECTION" | "INDEX" | "WEBHOOK">;
  sql: SqlStorage;
  host: HostRecord;
  change: <T>(work: (now: number) => T) => T;
  /** Sends to the agent; throws when it did not take it; false when there is no link, and everything will be restated when there is one. */
  send: (bodies: () => Iterable<ControlBody>) => Promise<boolean>;
};

/** Whom a host has something to say to, by the first word of a letter; the second is the owner of workloads. */
export type LetterKey = "announce" | "frames" | "owner" | "health" | "evict";

/** Says the present truth about one subject. Throws when the other side could not be reached; it is then tried again. */
export function deliver(key: LetterKey, owner: string, sender: Sender): Promise<void> {
  switch (key) {
    case "announce":
      return announce(sender.sql, sender.env, hostSource(sender.host.identity));
    case "frames":
      return sendCommands(sender);
    case "owner":
      return tellOwner(owner, sender);
    case "health":
      return tellHealth(owner, sender);
    case "evict":
      return evictOwner(owner, sender);
  }
}

/** Sends the agent what it has not been sent. Frames on a tunnel are not acknowledged: a cut connection restates everything. */
async function sendCommands(sender: Sender): Promise<void> {
  let sent: WorkloadRow[] = [];
  const done = await sender.send(() => {
    sent = unsent(sender.sql);
    return sent.length > 0
      ? [{ kind: "apply", revision: sender.host.desired_revision, workloads: sent.flatMap(commandOf) }]
      : [];
  });
  if (!done) return;
  sender.change((now) => {
    const present = new Map(unsent(sender.sql).map((row) => [row.id, row]));
    for (const { id, generation, want, probing } of sent) {
      const row = present.get(id);
      if (row && row.generation === generation && row.want === want && row.probing === probing)
        put(sender.sql, id, { ...row, unsent: false }, now);
    }
    // A frame holds only so many.
    if (sent.length > 0 && unsent(sender.sql).length > 0) post(sender.sql, "frames", now);
  });
}

/** Tells an owner what was seen of its workloads since it was last told. */
async function tellOwner(owner: string, sender: Sender): Promise<void> {
  const rows = untoldOf(sender.sql, owner);
  if (isDatabaseId(owner)) {
    const reports = rows.flatMap(({ generation: term, observation }) => (observation ? [{ term, observation }] : []));
    if (reports.length > 0) await remote(sender.env.DATABASE, owner).observe(sender.host.identity.id, reports);
    return sender.change((now) => told(sender.sql, rows, now));
  }
  const reports = rows.flatMap((row): Report[] => {
    const slot = parseWorkloadId(row.id)?.slot;
    return slot === undefined || row.observation === null
      ? []
      : [{ slot, generation: row.generation, observation: row.observation }];
  });
  if (reports.length > 0) await ownerOf(sender.env, owner).observe(sender.host.identity.id, reports);
  sender.change((now) => told(sender.sql, rows, now));
}

/** Tells an owner what health checks of its workloads came to since it was last told. */
async function tellHealth(owner: string, sender: Sender): Promise<void> {
  const results = untoldHealth(sender.sql, owner);
  if (results.length === 0) return;
  // An owner makes nothing of the health of an instance of which it has not heard that it runs.
  if (untoldOf(sender.sql, owner).length > 0) await tellOwner(owner, sender);
  await ownerOf(sender.env, owner).probed(sender.host.identity.id, results);
  sender.change(() => toldHealth(sender.sql, results));
}

/** Tells an owner that its workloads cannot stay, as things are now with this host. */
async function evictOwner(owner: string, sender: Sender): Promise<void> {
  const { state, identity } = sender.host;
  const why =
    state.status === "removed"
      ? "host_removed"
      : state.status === "lost"
        ? "host_lost"
        : state.scheduling === "draining"
          ? "host_draining"
          : null;
  if (why === null) return;
  const rows = allOf(sender.sql, owner).filter(
    (row) => row.spec !== null && (why === "host_removed" || row.want === "running"),
  );
  const terms = rows.map(({ generation }) => generation);
  const slots = rows.flatMap((row): SlotGeneration[] => {
    const slot = parseWorkloadId(row.id)?.slot;
    return slot === undefined ? [] : [{ slot, generation: row.generation }];
  });
  if (isDatabaseId(owner)) {
    if (terms.length > 0) await remote(sender.env.DATABASE, owner).evict(identity.id, why, terms);
  } else if (slots.length > 0) await ownerOf(sender.env, owner).evict(identity.id, why, slots);
  if (why === "host_removed") sender.change((now) => rows.forEach((row) => void put(sender.sql, row.id, null, now)));
}
