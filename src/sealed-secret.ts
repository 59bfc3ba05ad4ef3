import { fromBase64Url, toBase64Url } from "../contract/envelope.ts";

/**
 * A new token's secret is answered once; yet the same request with the same Idempotency-Key must get the same answer. So the object keeps the
 * secret for a day, encrypted under what it does not keep: the bearer token of the caller, with the Idempotency-Key as salt. Whoever reads
 * the storage learns nothing; the caller, asking again, reads it.
 */
const encoder = new TextEncoder();
const NONCE_BYTES = 12;

async function keyFor(bearer: string, idempotencyKey: string): Promise<CryptoKey> {
  const material = await crypto.subtle.importKey("raw", encoder.encode(bearer), "HKDF", false, ["deriveKey"]);
  const how = {
    name: "HKDF",
    hash: "SHA-256",
    salt: encoder.encode(idempotencyKey),
    info: encoder.encode("lamplighter sealed secret"),
  };
  return crypto.subtle.deriveKey(how, material, { name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]);
}

export async function sealSecret(secret: string, bearer: string, idempotencyKey: string): Promise<string> {
  const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  const hidden = await crypto.subtle.encrypt(
    { name: "AES-GCM", iv: nonce },
    await keyFor(bearer, idempotencyKey),
    encoder.encode(secret),
  );
  return toBase64Url(new Uint8Array([...nonce, ...new Uint8Array(hidden)]));
}

/** The secret, or null when it was sealed under something else. */
export async function unsealSecret(sealed: string, bearer: string, idempotencyKey: string): Promise<string | null> {
  const bytes = fromBase64Url(sealed);
  try {
    const key = await keyFor(bearer, idempotencyKey);
    const text = await crypto.subtle.decrypt(
      { name: "AES-GCM", iv: bytes.subarray(0, NONCE_BYTES) },
      key,
      bytes.subarray(NONCE_BYTES),
    );
    return new TextDecoder().decode(text);
  } catch {
    return null;
  }
}
