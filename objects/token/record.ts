import type { AuditEntry } from "../../contract/event.ts";
import { accept, type Reply, refuse } from "../../contract/problem.ts";
import type { Answer } from "../../contract/request.ts";
import type { Principal, ScopeName } from "../../contract/scope.ts";
import { timestamp } from "../../contract/timestamp.ts";
import type { TokenView } from "../../contract/token.ts";
import { type By, entryOf, type IndexRow } from "../projection.ts";
import { sameHash } from "./secret.ts";

/** The one row of a TokenObject. */
export type TokenRecord = {
  name: string;
  hash: string;
  scopes: ScopeName[];
  namespaces: string[];
  labels: Record<string, string>;
  created_at: number;
  expires_at: number | null;
  last_used_at: number | null;
  revoked_at: number | null;
  uses_left: number | null;
  revision: number;
  version: number;
  /** A session is made by logging in, and is no subject of the lists. */
  kind: "access" | "session";
  user_id: string | null;
  /** Ends when it has not been used for so long, ms. */
  idle_ms: number | null;
};

/** What a new token is; `sealed` is its secret encrypted under what only the caller knows, for a repeated request. */
export type TokenDraft = Pick<
  TokenRecord,
  "name" | "hash" | "scopes" | "namespaces" | "labels" | "expires_at" | "uses_left" | "kind" | "user_id" | "idle_ms"
> & { sealed: string | null };

/** `stale_use`: the moment of its last use has not been noted for a minute. */
export type Verified = { principal: Principal; expires_at: number | null; stale_use: boolean };

/** Who made a change. */
export type Joined = { host_id: string; labels: Record<string, string> };

type Row = Omit<TokenRecord, "scopes" | "namespaces" | "labels"> & {
  scopes: string;
  namespaces: string;
  labels: string;
};

export function load(sql: SqlStorage): TokenRecord | null {
  const row = sql.exec<Row & { one: number }>("SELECT * FROM token").toArray()[0];
  if (!row) return null;
  return {
    ...row,
    scopes: JSON.parse(row.scopes) as ScopeName[],
    namespaces: JSON.parse(row.namespaces) as string[],
    labels: JSON.parse(row.labels) as Record<string, string>,
  };
}

export function save(sql: SqlStorage, t: TokenRecord): void {
  sql.exec(
    "INSERT OR REPLACE INTO token VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    t.name,
    t.hash,
    JSON.stringify(t.scopes),
    JSON.stringify(t.namespaces),
    JSON.stringify(t.labels),
    t.created_at,
    t.expires_at,
    t.last_used_at,
    t.revoked_at,
    t.uses_left,
    t.revision,
    t.version,
    t.kind,
    t.user_id,
    t.idle_ms,
  );
}

const MINUTE_MS = 60_000;

export function view(id: string, t: TokenRecord): TokenView {
  return {
    id,
    name: t.name,
    token_prefix: `lamp_${id.slice("tok_".length)}`,
    scopes: t.scopes,
    namespaces: t.namespaces,
    created_at: timestamp(t.created_at),
    expire_at: timestamp(t.expires_at),
    last_used_at: timestamp(t.last_used_at === null ? null : t.last_used_at - (t.last_used_at % MINUTE_MS)),
    revoked_at: timestamp(t.revoked_at),
    uses_left: t.uses_left,
    labels: t.labels,
    user_id: t.user_id,
    revision: t.revision,
  };
}

/** `gone`: it is about to be forgotten. A session is told of only as one that is gone, for the sake of its audit entries. */
export const indexRow = (id: string, t: TokenRecord, gone: boolean): IndexRow => ({
  kind: "token",
  id,
  namespace: null,
  name: t.name,
  status: t.revoked_at === null ? "active" : "revoked",
  type: isJoin(t) ? "join" : "access",
  labels: {},
  passing: false,
  version: t.version,
  body: gone || t.kind === "session" ? null : JSON.stringify(view(id, t)),
});

export const isJoin = (t: Pick<TokenRecord, "scopes">): boolean => t.scopes.includes("hosts:join");

/** Who presents a secret with this hash, or null when it is not the token's, or the token has ended. */
export function verified(id: string, token: TokenRecord, hash: string, now: number): Verified | null {
  if (!sameHash(hash, token.hash) || !isUsable(token, now)) return null;
  const { name, scopes, namespaces, expires_at, user_id, kind } = token;
  const principal = {
    token_id: id,
    name,
    scopes,
    namespaces,
    ...(user_id === null ? {} : { user_id }),
    ...(kind === "session" ? { session: true } : {}),
  };
  return { principal, expires_at, stale_use: isStaleUse(token, now) };
}

/** Whether its last use is to be noted anew: at most once a minute. */
export const isStaleUse = ({ last_used_at }: TokenRecord, now: number): boolean =>
  last_used_at === null || now - last_used_at >= MINUTE_MS;

export const isUsable = (t: TokenRecord, now: number): boolean =>
  t.revoked_at === null &&
  (t.expires_at === null || t.expires_at > now) &&
  (t.idle_ms === null || (t.last_used_at ?? t.created_at) + t.idle_ms > now);

const DAY_MS = 86_400_000;
/** How long an ended token stays listed. Nobody lists a session; but a letter that ends it may still be on its way. */
const ENDED_KEPT_MS = { access: 30 * DAY_MS, session: DAY_MS };

/** When nothing of the token has to be kept any more; null while it has no end. */
export function forgetAt({ kind, revoked_at, expires_at }: TokenRecord): number | null {
  const end = revoked_at === null ? expires_at : Math.min(revoked_at, expires_at ?? Number.POSITIVE_INFINITY);
  return end === null ? null : end + ENDED_KEPT_MS[kind];
}

export const isOver = (token: TokenRecord, now: number): boolean => {
  const at = forgetAt(token);
  return at !== null && at <= now;
};

export const auditEntry = (
  id: string,
  action: string,
  token: TokenRecord,
  before: number | null,
  by: By,
  now: number,
): AuditEntry =>
  entryOf({ kind: "token", id, name: token.name, namespace: null }, action, by, now, before, token.revision);

/** A token as its object answers it; `sealed` is its secret, encrypted. */
export function answerOf(id: string, t: TokenRecord, status: 200 | 201, sealed: string | null = null): Reply<Answer> {
  const body = JSON.stringify(sealed === null ? view(id, t) : { ...view(id, t), sealed });
  return accept({ status, body, revision: t.revision });
}

export function ended(token: TokenRecord): Reply<never> {
  const resource_status = token.revoked_at === null ? "expired" : "revoked";
  return refuse("action_not_allowed", `The token is ${resource_status}; make a new one.`, {
    more: { resource_status, allowedActions: {} },
  });
}
