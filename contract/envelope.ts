import { z } from "zod";

/**
 * Signed messages between a HostObject and its agent. The signature (Ed25519) is over the payload's exact text, so that nothing has to be
 * put into a canonical form. Works alike in Workers and in Node: WebCrypto only.
 */
export const Envelope = z.object({
  p: z.string().describe("The payload, JSON"),
  s: z.string().describe("base64url of the Ed25519 signature of p"),
});
export type Envelope = z.infer<typeof Envelope>;

/** How far the two clocks may differ before a message counts as a replay, ms. As in Standard Webhooks' reference receiver. */
export const CLOCK_TOLERANCE_MS = 300_000;

const encoder = new TextEncoder();

export async function generateKeyPair(): Promise<{ publicKey: string; privateKey: JsonWebKey }> {
  const pair = (await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"])) as CryptoKeyPair;
  const raw = (await crypto.subtle.exportKey("raw", pair.publicKey)) as ArrayBuffer;
  const privateKey = (await crypto.subtle.exportKey("jwk", pair.privateKey)) as JsonWebKey;
  return { publicKey: toBase64Url(new Uint8Array(raw)), privateKey };
}

export const importPrivateKey = (jwk: JsonWebKey): Promise<CryptoKey> =>
  crypto.subtle.importKey("jwk", jwk, "Ed25519", false, ["sign"]);

/** @param publicKey base64url of the 32 raw bytes */
export const importPublicKey = (publicKey: string): Promise<CryptoKey> =>
  crypto.subtle.importKey("raw", fromBase64Url(publicKey), "Ed25519", false, ["verify"]);

export async function seal(key: CryptoKey, payload: unknown): Promise<string> {
  const p = JSON.stringify(payload);
  const signature = await crypto.subtle.sign("Ed25519", key, encoder.encode(p));
  return JSON.stringify({ p, s: toBase64Url(new Uint8Array(signature)) } satisfies Envelope);
}

/** The payload of a sealed message, or null when it is not an envelope or the signature is not by this key. */
export async function open(key: CryptoKey, text: string): Promise<unknown> {
  try {
    const { p, s } = Envelope.parse(JSON.parse(text));
    const valid = await crypto.subtle.verify("Ed25519", key, fromBase64Url(s), encoder.encode(p));
    return valid ? JSON.parse(p) : null;
  } catch {
    return null;
  }
}

export function toBase64Url(bytes: Uint8Array): string {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

export function fromBase64Url(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (char) => char.charCodeAt(0));
}
