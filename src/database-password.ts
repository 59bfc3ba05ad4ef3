import { fromBase64Url, toBase64Url } from "../contract/envelope.ts";
import { newId } from "../contract/id.ts";
import { type Credentials, credentials, SCRAM_ITERATIONS } from "../contract/scram.ts";
import type { Scram } from "../objects/database/credential.ts";
import { proofOf } from "./mint.ts";

/**
 * Roles of databases and their passwords. A role says which database it is of, by the same characters as the id; whether that id was handed out
 * by this control plane can be told without asking anybody, so that made-up roles wake nothing.
 */
const ROLE_PREFIX = "u_";
const PASSWORD_BYTES = 24;
const SALT_BYTES = 16;

export const roleOf = (databaseId: string): string => ROLE_PREFIX + databaseId.slice("db_".length);

/** The database that a role is of, if it is of any. */
export const databaseOfRole = (role: string): string | null =>
  /^u_[0-9a-hjkmnp-tv-z]{26}$/.test(role) ? `db_${role.slice(ROLE_PREFIX.length)}` : null;

/** The same for a role whether it exists or not, so that a salt tells nothing. */
export async function scramFor(env: Env, role: string): Promise<Scram> {
  const proof = await proofOf(env, "scram salt", role);
  return { salt: btoa(String.fromCharCode(...proof.subarray(0, SALT_BYTES))), iterations: SCRAM_ITERATIONS };
}

/** 192 random bits, in characters that need no escaping in a connection string. */
export const drawPassword = (): string => toBase64Url(crypto.getRandomValues(new Uint8Array(PASSWORD_BYTES)));

export function credentialsFor(password: string, { salt, iterations }: Scram, now: number): Promise<Credentials> {
  const bytes = fromBase64Url(salt.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", ""));
  return credentials(newId("credential", now), password, { salt: bytes, iterations });
}

/** Where clients reach a gateway, if the operator says so. */
export const gatewayAddress = (env: Env & { GATEWAY_ADDRESS?: string }): string | null =>
  env.GATEWAY_ADDRESS?.trim() || null;

/** How to connect; `<gateway>` stands for an address that the operator has not said. What does not leave a machine need not be encrypted. */
export function dsnOf(env: Env, role: string, name: string, password: string): string {
  const gateway = gatewayAddress(env) ?? "<gateway>";
  const isLocal = /^(127\.|localhost|\[::1\])/.test(gateway);
  return `postgres://${role}:${password}@${gateway}/${encodeURIComponent(name)}${isLocal ? "" : "?sslmode=require"}`;
}
