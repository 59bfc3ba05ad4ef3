import { fromBase64Url, toBase64Url } from "../../contract/envelope.ts";
import { accept, type Reply, refuse } from "../../contract/problem.ts";

/**
 * Secrets at rest: AES-256-GCM under a key that is not in the storage. `SECRET_KEYS` is `id:base64,…`; the first key seals, all of them open.
 * What is sealed is bound to the object that it belongs to, and is of no use in another.
 */
const NONCE_BYTES = 12;
const encoder = new TextEncoder();
const imported = new Map<string, Promise<CryptoKey>>();

export async function seal(env: object, text: string, owner: string): Promise<Reply<string>> {
  const first = keysOf(env)[0];
  if (first === undefined)
    return refuse("secret_key_missing", "There is no key to keep secrets under (`SECRET_KEYS`).");
  const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  const how = { name: "AES-GCM", iv: nonce, additionalData: encoder.encode(owner) };
  const hidden = await crypto.subtle.encrypt(how, await keyOf(first.base64), encoder.encode(text));
  return accept(`${first.id}.${toBase64Url(new Uint8Array([...nonce, ...new Uint8Array(hidden)]))}`);
}

export async function open(env: object, sealed: string, owner: string): Promise<Reply<string>> {
  const at = sealed.indexOf(".");
  const id = sealed.slice(0, at);
  const key = keysOf(env).find((one) => one.id === id);
  if (key === undefined)
    return refuse("secret_key_missing", `The key ${id}, under which a secret is kept, is not among \`SECRET_KEYS\`.`);
  const bytes = fromBase64Url(sealed.slice(at + 1));
  const how = { name: "AES-GCM", iv: bytes.subarray(0, NONCE_BYTES), additionalData: encoder.encode(owner) };
  try {
    const text = await crypto.subtle.decrypt(how, await keyOf(key.base64), bytes.subarray(NONCE_BYTES));
    return accept(new TextDecoder().decode(text));
  } catch {
    return refuse("secret_key_missing", `The key ${id} is not the one under which this secret was kept.`);
  }
}

function keysOf(env: object): { id: string; base64: string }[] {
  const { SECRET_KEYS = "" } = env as { SECRET_KEYS?: string };
  return SECRET_KEYS.split(",").flatMap((pair) => {
    const at = pair.indexOf(":");
    return at > 0 ? [{ id: pair.slice(0, at).trim(), base64: pair.slice(at + 1).trim() }] : [];
  });
}

function keyOf(base64: string): Promise<CryptoKey> {
  let key = imported.get(base64);
  if (key === undefined) {
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    key = crypto.subtle.importKey("raw", bytes, "AES-GCM", false, ["encrypt", "decrypt"]);
    imported.set(base64, key);
  }
  return key;
}
