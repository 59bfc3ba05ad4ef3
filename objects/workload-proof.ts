import { fromBase64Url, toBase64Url } from "../contract/envelope.ts";
import { remote } from "./remote.ts";
import type { TokenObject } from "./token/object.ts";

/**
 * What a workload shows when it reports to the control plane: an HMAC over its id and generation, under the key that the root's object keeps for
 * marks. The Worker checks it before any object is woken, and it is worth nothing for any other generation.
 */
const BYTES = 24;
const encoder = new TextEncoder();
let known: CryptoKey | null = null;

async function keyOf(env: Pick<Env, "TOKEN">): Promise<CryptoKey> {
  if (known === null) {
    const text = await remote<TokenObject>(env.TOKEN, "root").mintKey();
    known = await crypto.subtle.importKey("raw", fromBase64Url(text), { name: "HMAC", hash: "SHA-256" }, false, [
      "sign",
    ]);
  }
  return known;
}

export async function workloadProof(env: Pick<Env, "TOKEN">, id: string, generation: number): Promise<string> {
  const text = `workload report\n${id}\n${generation}`;
  const full = await crypto.subtle.sign("HMAC", await keyOf(env), encoder.encode(text));
  return `lampw_${toBase64Url(new Uint8Array(full).subarray(0, BYTES))}`;
}
