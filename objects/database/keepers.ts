import { z } from "zod";
import { accept, type Reply, refuse } from "../../contract/problem.ts";
import type { KeeperAddress } from "../../contract/writer.ts";

/** Which keepers have a database's log, and how many of them acknowledge a commit. Fixed when it is made. */
export const Keeping = z.object({ keepers: z.array(z.string()), quorum: z.int() });
export type Keeping = z.infer<typeof Keeping>;

/** What the operator says about keepers. */
export type KeeperSettings = { KEEPERS?: string; KEEPER_QUORUM?: string };

/**
 * The keepers as the operator names them: `KEEPERS` is `name=url` several times, separated by commas, the token in the url's password, and the
 * fingerprint of its certificate behind a `#`. Throws a message for a person, without tokens, when it cannot be read.
 */
export function keepersOf(env: KeeperSettings): KeeperAddress[] {
  const text = env.KEEPERS?.trim() ?? "";
  if (text === "") return [];
  return text.split(",").map(keeperOf);
}

function keeperOf(part: string, i: number): KeeperAddress {
  const at = part.indexOf("=");
  const name = part.slice(0, at).trim();
  const url = parsed(part.slice(at + 1).trim());
  const token = url && decoded(url.password);
  if (!/^[a-z][a-z0-9_]{0,30}$/.test(name) || url === null || !token)
    throw new Error(`KEEPERS: entry ${i + 1} is not of the form name=https://:TOKEN@host:port#FINGERPRINT`);
  const fingerprint = url.hash.slice(1);
  if (fingerprint !== "" && (url.protocol !== "https:" || !/^[0-9a-f]{64}$/.test(fingerprint)))
    throw new Error(`KEEPERS: entry ${i + 1}: behind # goes the SHA-256 fingerprint of an https keeper, 64 hex digits`);
  url.username = "";
  url.password = "";
  url.hash = "";
  const address = { name, url: url.href.replace(/\/$/, ""), token };
  return fingerprint === "" ? address : { ...address, fingerprint };
}

function parsed(text: string): URL | null {
  try {
    return new URL(text);
  } catch {
    return null;
  }
}

function decoded(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

/** What a database is to have from its making on. Refused, with a reason for a person, when the operator's settings cannot be read. */
export function keepingOf(env: KeeperSettings): Reply<Keeping> {
  try {
    const known = keepersOf(env);
    differ(known);
    return accept({ keepers: known.map(({ name }) => name), quorum: quorumOf(env, known.length) });
  } catch (error) {
    return refuse("keepers_misconfigured", `${(error as Error).message}.`);
  }
}

/** One keeper under two names would count as two. */
function differ(known: readonly KeeperAddress[]): void {
  for (const [i, { name, url }] of known.entries()) {
    const before = known.slice(0, i);
    if (before.some((one) => one.name === name)) throw new Error(`KEEPERS: the name ${name} is there twice`);
    if (before.some((one) => one.url === url)) throw new Error(`KEEPERS: the address of ${name} is there twice`);
  }
}

/** How many of them acknowledge a commit: the operator's word, else most of them. */
function quorumOf(env: KeeperSettings, keepers: number): number {
  const text = env.KEEPER_QUORUM?.trim() ?? "";
  if (text === "") return keepers === 0 ? 0 : Math.floor(keepers / 2) + 1;
  if (keepers === 0) throw new Error("KEEPER_QUORUM is set, and KEEPERS names no keeper");
  const asked = Number(text);
  if (!Number.isInteger(asked) || asked < 1 || asked > keepers)
    throw new Error(`KEEPER_QUORUM: expected a whole number from 1 to ${keepers}, as many as KEEPERS names`);
  return asked;
}
