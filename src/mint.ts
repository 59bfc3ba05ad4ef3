import { fromBase64Url, toBase64Url } from "../contract/envelope.ts";
import { newId, ulid } from "../contract/id.ts";
import { remote } from "../objects/remote.ts";
import { sameHash } from "../objects/token/secret.ts";
import { call } from "./stub.ts";

/**
 * Marks in what the control plane hands out: token secrets, host ids and hook ids end in a few bytes of an HMAC over the rest. Whoever makes one up is
 * refused by the Worker alone. Without the mark each made-up token or host id would wake an object, and on one machine every object that is
 * woken costs a file and three file descriptors: a few thousand requests by anyone would stop the control plane.
 *
 * The mark proves nothing else. A token is still checked against the hash in its object, and a host by its signature.
 */
const ID_MARK_BYTES = 5;
const SECRET_MARK_BYTES = 10;
const SECRET_BYTES = 32;
const PROOF_BYTES = 24;
/** An id ends in 10 characters of time and 16 of chance; of these, the mark takes the last 8. */
const ID_MARK_LENGTH = 8;

const encoder = new TextEncoder();
let mint: CryptoKey | null = null;

/** The key lives in the TokenObject named `root`; an isolate asks for it once. What is kept is the key and not the asking: that belongs to one request. */
async function keyOf(env: Env): Promise<CryptoKey> {
  if (mint === null) {
    const key = await call(
      () => remote(env.TOKEN, "root"),
      (root) => root.mintKey(),
    );
    mint = await crypto.subtle.importKey("raw", fromBase64Url(key), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  }
  return mint;
}

async function markOf(env: Env, text: string, length: number): Promise<Uint8Array> {
  const full = await crypto.subtle.sign("HMAC", await keyOf(env), encoder.encode(text));
  return new Uint8Array(full).subarray(0, length);
}

/** A new secret for a token: 176 random bits and its mark, 43 characters. */
export async function mintSecret(env: Env, tokenId: string): Promise<string> {
  const random = crypto.getRandomValues(new Uint8Array(SECRET_BYTES - SECRET_MARK_BYTES));
  const mark = await markOf(env, `${tokenId} ${toBase64Url(random)}`, SECRET_MARK_BYTES);
  return toBase64Url(new Uint8Array([...random, ...mark]));
}

export async function isMintedSecret(env: Env, tokenId: string, secret: string): Promise<boolean> {
  const bytes = fromBase64Url(secret);
  const random = bytes.subarray(0, SECRET_BYTES - SECRET_MARK_BYTES);
  const mark = await markOf(env, `${tokenId} ${toBase64Url(random)}`, SECRET_MARK_BYTES);
  return sameHash(toBase64Url(mark), toBase64Url(bytes.subarray(random.length)));
}

/** A proof, 24 bytes, that a text is ours. It says what it is for, so that no proof of one kind passes as another. */
export const proofOf = (env: Env, purpose: string, text: string): Promise<Uint8Array> =>
  markOf(env, `${purpose}\n${text}`, PROOF_BYTES);

/** A new host's id: it sorts by time like every other, and ends in its mark. */
export const mintHostId = (env: Env, now: number): Promise<string> => marked(env, newId("host", now));

export const isMintedHostId = (env: Env, id: string): Promise<boolean> => isMarked(env, id);

/** The id with its mark in the place of its last characters: the same for the same id. */
export async function marked(env: Env, id: string): Promise<string> {
  const unmarked = id.slice(0, -ID_MARK_LENGTH);
  return unmarked + (await idMark(env, unmarked));
}

export async function isMarked(env: Env, id: string): Promise<boolean> {
  return sameHash(await idMark(env, id.slice(0, -ID_MARK_LENGTH)), id.slice(-ID_MARK_LENGTH));
}

async function idMark(env: Env, unmarked: string): Promise<string> {
  const mark = await markOf(env, unmarked, ID_MARK_BYTES);
  return ulid(0, new Uint8Array([...new Uint8Array(ID_MARK_BYTES), ...mark])).slice(-ID_MARK_LENGTH);
}
