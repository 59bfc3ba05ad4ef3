import { fromBase64Url, toBase64Url } from "../contract/envelope.ts";
import { accept, type Reply, refuse } from "../contract/problem.ts";
import { isSealed, SEALED_PATTERN, type Sealed } from "../contract/sealed.ts";

/**
 * Seals what is secret before it is stored: AES-256-GCM under a key that is nowhere in the storage. Keys come as `SECRET_KEYS`, a secret of the
 * Worker: `id:base64 of 32 bytes`, several separated by commas. The first seals, all of them open. What a text is of (`secret:sec_…`) goes
 * into the seal as additional data: put in another's place, it does not open.
 */
export type SealingKeys = { newest: string; keys: ReadonlyMap<string, CryptoKey> };

const NONCE_BYTES = 12;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Importing takes longer than sealing; the text of the secret stays the same while the isolate lives. */
const imported = new Map<string, Promise<SealingKeys>>();

/** The keys, or why there are none; what is said never holds a part of a key. */
export async function sealingKeys(env: { SECRET_KEYS?: string }): Promise<Reply<SealingKeys>> {
  const text = env.SECRET_KEYS?.trim() ?? "";
  if (text === "") return refuse("secret_key_missing", "No key is set to seal secrets with (SECRET_KEYS).");
  const parsed = parseKeys(text);
  if (typeof parsed === "string") return refuse("secret_key_missing", `SECRET_KEYS cannot be used: ${parsed}.`);
  let keys = imported.get(text);
  if (keys === undefined) {
    keys = importKeys(parsed);
    imported.clear();
    imported.set(text, keys);
  }
  return { ok: true, value: await keys };
}

/** Key id and bytes of each, in order; a text is what is wrong with them. */
export function parseKeys(text: string): [id: string, bytes: Uint8Array<ArrayBuffer>][] | string {
  const parsed: [string, Uint8Array<ArrayBuffer>][] = [];
  for (const [i, part] of text.split(",").entries()) {
    const [, id, encoded] = /^\s*([A-Za-z0-9-]{1,32}):([A-Za-z0-9+/_-]+={0,2})\s*$/.exec(part) ?? [];
    if (id === undefined || encoded === undefined)
      return `entry ${i + 1} is not of the form id:base64 (the id: 1 to 32 letters, digits or "-")`;
    if (parsed.some(([other]) => other === id)) return `the id ${id} is there twice`;
    const bytes = bytesOf(encoded);
    if (bytes?.length !== 32) return `key ${id} is not 32 bytes in base64`;
    parsed.push([id, bytes]);
  }
  return parsed;
}

function bytesOf(base64: string): Uint8Array<ArrayBuffer> | null {
  try {
    return fromBase64Url(base64.replaceAll("=", ""));
  } catch {
    return null;
  }
}

async function importKeys(parsed: [string, Uint8Array<ArrayBuffer>][]): Promise<SealingKeys> {
  const keys = await Promise.all(
    parsed.map(
      async ([id, bytes]) =>
        [id, await crypto.subtle.importKey("raw", bytes, "AES-GCM", false, ["encrypt", "decrypt"])] as const,
    ),
  );
  return { newest: parsed[0]?.[0] as string, keys: new Map(keys) };
}

/** Seals with the keys of an environment; refused without one. */
export async function seal(env: { SECRET_KEYS?: string }, text: string, of: string): Promise<Reply<Sealed>> {
  const keys = await sealingKeys(env);
  return keys.ok ? accept(await sealText(keys.value, text, of)) : keys;
}

/** Opens with the keys of an environment; refused when the one that it was sealed with is not there. */
export async function open(env: { SECRET_KEYS?: string }, sealed: Sealed, of: string): Promise<Reply<string>> {
  const keys = await sealingKeys(env);
  if (!keys.ok) return keys;
  const text = await openText(keys.value, sealed, of);
  return text === null
    ? refuse("secret_key_missing", `The key ${keyIdOf(sealed)}, which this was sealed with, is not among SECRET_KEYS.`)
    : accept(text);
}

/** @param of what it is the value of; to open it, the same must be said */
export async function sealText({ newest, keys }: SealingKeys, text: string, of: string): Promise<Sealed> {
  const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  const hidden = await crypto.subtle.encrypt(
    { name: "AES-GCM", iv: nonce, additionalData: encoder.encode(of) },
    keys.get(newest) as CryptoKey,
    encoder.encode(text),
  );
  const bytes = new Uint8Array(NONCE_BYTES + hidden.byteLength);
  bytes.set(nonce);
  bytes.set(new Uint8Array(hidden), NONCE_BYTES);
  return `lampseal1.${newest}.${toBase64Url(encoder.encode(of))}.${toBase64Url(bytes)}`;
}

/** The text; null when its key is not there any more, or when it was sealed as something else. */
export async function openText({ keys }: SealingKeys, sealed: Sealed, of: string): Promise<string | null> {
  const [id, sealedOf, payload] = partsOf(sealed);
  const key = keys.get(id);
  if (key === undefined || sealedOf !== of) return null;
  const bytes = fromBase64Url(payload);
  try {
    const text = await crypto.subtle.decrypt(
      { name: "AES-GCM", iv: bytes.subarray(0, NONCE_BYTES), additionalData: encoder.encode(of) },
      key,
      bytes.subarray(NONCE_BYTES),
    );
    return decoder.decode(text);
  } catch {
    return null;
  }
}

export const keyIdOf = (sealed: Sealed): string => partsOf(sealed)[0];
/** What a sealed text says it is of; whether that is true, opening it tells. */
export const sealedAs = (sealed: Sealed): string => partsOf(sealed)[1];

/** The texts sealed in a text, each once. */
export const sealedIn = (text: string): Sealed[] => [...new Set(text.match(SEALED_PATTERN) ?? [])];

function partsOf(sealed: Sealed): [id: string, of: string, payload: string] {
  if (!isSealed(sealed)) throw new Error("this is not a sealed text");
  const [, id, of, payload] = sealed.split(".") as [string, string, string, string];
  return [id, decoder.decode(fromBase64Url(of)), payload];
}
