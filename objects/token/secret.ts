import { toBase64Url } from "../../contract/envelope.ts";

const encoder = new TextEncoder();

/** SHA-256 of a text, in hex: how secrets are kept. They are random and long, so nothing slower is needed. */
export async function sha256Hex(text: string): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", encoder.encode(text)));
  let hex = "";
  for (const byte of digest) hex += byte.toString(16).padStart(2, "0");
  return hex;
}

/** Whether two hashes are equal, in a time that does not tell where they differ. */
export function sameHash(a: string, b: string): boolean {
  let difference = a.length ^ b.length;
  for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i % (b.length || 1));
  return difference === 0;
}

/** A new secret: 256 random bits, 43 characters. */
export const newSecret = (): string => toBase64Url(crypto.getRandomValues(new Uint8Array(32)));
