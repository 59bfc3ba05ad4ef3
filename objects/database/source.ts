import type { SourceNeed, SourceStanding } from "../../contract/database-reader.ts";
import { accept, type Reply, refuse } from "../../contract/problem.ts";
import type { Sealed } from "../../contract/sealed.ts";
import { remote } from "../remote.ts";
import type { Watchers } from "../watch.ts";
import type { DatabaseEvent } from "./decide.ts";
import { attach, detach, newReaderRole, readerRole, readerWake, standingOf, want } from "./reader.ts";
import type { DatabaseRecord } from "./record.ts";

/** A database as what engines read from: what connections and instances ask of it. */

export type SourceAsk =
  /** A connection leads here. Refused when there is no such database in its namespace. */
  | { do: "attach"; connection_id: string; namespace: string }
  | { do: "detach"; connection_id: string }
  /** What somebody needs of it from now on; null: nothing any more. */
  | { do: "want"; holder: string; need: SourceNeed | null }
  /** The same; and it is waited for until it can be read, that long. */
  | { do: "read"; holder: string; need: SourceNeed; wait_ms: number };

/** What is needed to log in. */
export type Readable = { database: string; password: Sealed; standing: SourceStanding };

export type SourceParts = {
  id: string;
  env: Env;
  sql: SqlStorage;
  watchers: Watchers;
  load: () => DatabaseRecord | null;
  /** One change as one transaction. */
  change: <T>(work: (now: number) => T) => T;
  apply: (event: DatabaseEvent, now: number) => void;
};

export async function answerAsSource(ask: SourceAsk, parts: SourceParts): Promise<Reply<Readable | null>> {
  const { id, env, sql, load, change, apply } = parts;
  const unknown = () => refuse("not_found", `There is no database ${id}.`);
  const record = load();
  if (record === null || record.state.status === "deleting") return ask.do === "detach" ? accept(null) : unknown();
  switch (ask.do) {
    case "attach": {
      if (record.identity.namespace !== ask.namespace) return unknown();
      const role = await newReaderRole(env, id, Date.now());
      if (!role.ok) return role;
      change((now) => {
        attach(sql, ask.connection_id, role.value, now);
        apply({ type: "demand" }, now);
      });
      return accept(null);
    }
    case "detach":
      change((now) => {
        detach(sql, ask.connection_id, now);
        apply({ type: "demand" }, now);
      });
      return accept(null);
    case "want":
      take(ask.holder, ask.need, parts);
      return accept(null);
    case "read":
      return read(ask, parts);
  }
}

/** Whoever needs it awake wakes it. */
function take(holder: string, need: SourceNeed | null, { sql, change, apply }: SourceParts): void {
  change((now) => {
    want(sql, holder, need, now);
    const reason = need?.reason ?? null;
    apply(reason === null ? { type: "demand" } : { type: "wake", wake: readerWake(holder, reason, now) }, now);
  });
}

const LOOK_EVERY_MS = 1_000;

async function read(
  { holder, need, wait_ms }: Extract<SourceAsk, { do: "read" }>,
  parts: SourceParts,
): Promise<Reply<Readable>> {
  const { id, sql, load, watchers } = parts;
  take(holder, need, parts);
  for (const deadline = Date.now() + wait_ms; ; ) {
    const record = load();
    const role = readerRole(sql);
    if (record === null || role === null || record.state.status === "deleting")
      return refuse("not_found", `There is no database ${id} that could be read.`);
    const { state, identity } = record;
    const standing = standingOf(record);
    if (standing.at !== null) return accept({ database: identity.name, password: role.password, standing });
    if (state.status === "error")
      return refuse("action_not_allowed", `The database ${identity.name} does not start: ${state.message}.`);
    const left = deadline - Date.now();
    if (left <= 0)
      return refuse("action_not_allowed", `The database ${identity.name} is ${state.status}; it is being woken.`);
    await watchers.next(Math.min(left, LOOK_EVERY_MS));
    if (load()?.state.status === "stopped") take(holder, need, parts);
  }
}

type Letters = Pick<SourceParts, "sql" | "env" | "load" | "change" | "apply">;
type Holder = {
  sourceStands: (standing: SourceStanding) => Promise<boolean>;
  sourceNeed: () => Promise<SourceNeed | null>;
};

const holderOf = (env: Env, holder: string): Holder =>
  (holder.startsWith("conn_") ? remote(env.CONNECTION, holder) : remote(env.INSTANCE, holder)) as unknown as Holder;

/** Tells who follows it where it can be read now; one that does not follow it any more is forgotten. */
export async function tellFollower(holder: string, { sql, env, load, change }: Letters): Promise<void> {
  const record = load();
  if (record === null || (await holderOf(env, holder).sourceStands(standingOf(record)))) return;
  change((now) => want(sql, holder, null, now));
}

/** Asks what somebody needs of it now. */
export async function askHolder(holder: string, parts: Letters): Promise<void> {
  const need = await holderOf(parts.env, holder).sourceNeed();
  parts.change((now) => {
    want(parts.sql, holder, need && { ...need }, now);
    parts.apply({ type: "demand" }, now);
  });
}
