import { toBase64Url } from "../../contract/envelope.ts";
import type { EngineKey, KeyCreate, KeyView } from "../../contract/instance-key.ts";
import { accept, type Reply } from "../../contract/problem.ts";
import type { Answer } from "../../contract/request.ts";
import { timestamp } from "../../contract/timestamp.ts";
import { open } from "../sealing.ts";

/** The keys with which an instance is queried. Engines check them alone, by the instance's secret; here is only which there are. */

/** `problems`: what of it does not fit the build that serves, and with `usable: false` it therefore opens nothing. */
type Fit = { usable: boolean; problems: string[] };
type Stored = EngineKey & { name: string; created_at: number } & Partial<Fit>;

export const keys = (sql: SqlStorage): Stored[] =>
  sql
    .exec<{ body: string }>("SELECT body FROM api_key ORDER BY id")
    .toArray()
    .map(({ body }) => JSON.parse(body) as Stored);

/** As engines are told of them. */
export const engineKeys = (sql: SqlStorage): EngineKey[] =>
  keys(sql).map(({ id, tables, rows, expires_at, rate }) => ({ id, tables, rows, expires_at, rate }));

export function addKey(sql: SqlStorage, id: string, asked: KeyCreate, now: number): KeyView {
  const { name, tables = null, rows, expires_at = null, rate = null } = asked;
  const until = expires_at === null ? null : Date.parse(expires_at);
  const stored: Stored = { id, name, tables, rows, expires_at: until, rate, created_at: now };
  sql.exec("INSERT INTO api_key VALUES (?, ?)", id, JSON.stringify(stored));
  return keyView(stored);
}

/** How it fits what serves. Call it inside `commit`. */
export function markKey(sql: SqlStorage, id: string, fit: Fit): void {
  sql.exec("UPDATE api_key SET body = json_patch(body, ?) WHERE id = ?", JSON.stringify(fit), id);
}

export const unusableKeys = (sql: SqlStorage): string[] =>
  sql
    .exec<{ name: string }>("SELECT body ->> 'name' AS name FROM api_key WHERE body -> 'usable' = 'false' ORDER BY id")
    .toArray()
    .map(({ name }) => name);

/** Whether there was one. */
export const dropKey = (sql: SqlStorage, id: string): boolean =>
  sql.exec("DELETE FROM api_key WHERE id = ?", id).rowsWritten > 0;

export const keyView = ({ expires_at, created_at, usable = true, problems = [], ...rest }: Stored): KeyView => ({
  ...rest,
  usable,
  problems,
  expires_at: timestamp(expires_at),
  created_at: timestamp(created_at),
});

const encoder = new TextEncoder();

/** What a caller shows: made from the secret each time, and kept nowhere. */
export async function keyText(secret: string, id: string): Promise<string> {
  const how = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", encoder.encode(secret), how, false, ["sign"]);
  const mac = await crypto.subtle.sign("HMAC", key, encoder.encode(id));
  return `rxk_${id}.${toBase64Url(new Uint8Array(mac))}`;
}

export const newKeySecret = (): string => toBase64Url(crypto.getRandomValues(new Uint8Array(32)));
/** What the secret is sealed as. */
export const keySecretLabel = (instanceId: string): string => `instance-keys:${instanceId}`;

/** The answer of a creation, with the key itself. */
export async function withKey(env: Env, sql: SqlStorage, instanceId: string, made: Answer): Promise<Reply<Answer>> {
  const { sealed } = sql.exec<{ sealed: string }>("SELECT sealed FROM key_secret").one();
  const secret = await open(env, sealed, keySecretLabel(instanceId));
  if (!secret.ok) return secret;
  const view = JSON.parse(made.body) as KeyView;
  const message = "Keep the key: it is not shown again.";
  return accept({ ...made, body: JSON.stringify({ ...view, key: await keyText(secret.value, view.id), message }) });
}
