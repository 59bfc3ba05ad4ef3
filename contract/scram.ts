import { z } from "zod";
import { fromBase64Url, toBase64Url } from "./envelope.ts";

/**
 * SCRAM-SHA-256 verifiers (RFC 5803) and the bridge between two of them. WebCrypto only: works alike in Workers and in Node.
 *
 * A verifier proves a password and cannot log in. Whoever holds the ClientKey can, and the gateway gets to see it in each good login: it uses it
 * to log in to PostgreSQL, which has the same verifier. PostgreSQL keeps one verifier per role. So that a second password may be valid
 * during a rotation, its verifier carries a `bridge`: the ClientKey of the installed verifier, sealed to a key pair that only the second
 * password's ClientKey gives. Nothing that is stored can log in anywhere.
 */

export const SCRAM_ITERATIONS = 4096;
/** Two passwords of a role may be valid at once. */
export const VERIFIERS_MOST = 2;

const Base64 = z.base64();

export const Verifier = z.object({
  id: z.string(),
  stored_key: Base64,
  server_key: Base64,
  /** The X25519 public key whose private half comes from the ClientKey; base64url. */
  seal_key: z.string(),
});
export type Verifier = z.infer<typeof Verifier>;

/** The ClientKey of verifier `to`, for whoever has the ClientKey of the verifier that this stands beside. */
export const Bridge = z.object({ to: z.string(), sealed: z.string() });
export type Bridge = z.infer<typeof Bridge>;

export type Credentials = { verifier: Verifier; clientKey: Uint8Array<ArrayBuffer> };

type Bytes = Uint8Array<ArrayBuffer>;

/**
 * All verifiers of one role must have the same salt and iterations: the server tells them before it can know which password is used.
 * @param password printable ASCII, which SASLprep leaves as it is
 */
export async function credentials(
  id: string,
  password: string,
  { salt, iterations }: { salt: Bytes; iterations: number },
): Promise<Credentials> {
  const key = await crypto.subtle.importKey("raw", encode(password), "PBKDF2", false, ["deriveBits"]);
  const salted = await crypto.subtle.deriveBits({ name: "PBKDF2", hash: "SHA-256", salt, iterations }, key, 256);
  const clientKey = await hmac(salted, "Client Key");
  const serverKey = await hmac(salted, "Server Key");
  const storedKey = new Uint8Array(await crypto.subtle.digest("SHA-256", clientKey));
  const verifier = {
    id,
    stored_key: base64(storedKey),
    server_key: base64(serverKey),
    seal_key: (await sealPair(clientKey)).publicKey,
  };
  return { verifier, clientKey };
}

/** What PostgreSQL stores in `pg_authid.rolpassword`, and takes in `ALTER ROLE … PASSWORD`. */
export const rolpassword = (verifier: Verifier, salt: string, iterations: number): string =>
  `SCRAM-SHA-256$${iterations}:${salt}$${verifier.stored_key}:${verifier.server_key}`;

/** Made when the new password is, which is the only moment at which its ClientKey is known. */
export async function bridge(from: Verifier, to: Credentials): Promise<Bridge> {
  const recipient = await crypto.subtle.importKey("raw", fromBase64Url(from.seal_key), "X25519", false, []);
  const once = (await crypto.subtle.generateKey("X25519", false, ["deriveBits"])) as CryptoKeyPair;
  const oncePublic = new Uint8Array((await crypto.subtle.exportKey("raw", once.publicKey)) as ArrayBuffer);
  const key = await sealingKey(once.privateKey, recipient, oncePublic, to.verifier.id, "encrypt");
  const sealed = await crypto.subtle.encrypt({ name: "AES-GCM", iv: NO_NONCE }, key, to.clientKey);
  return { to: to.verifier.id, sealed: `${toBase64Url(oncePublic)}.${toBase64Url(new Uint8Array(sealed))}` };
}

/** The ClientKey that the bridge leads to; throws when it is not for this ClientKey. */
export async function crossBridge({ to, sealed }: Bridge, clientKey: Uint8Array): Promise<Bytes> {
  const [once = "", text = ""] = sealed.split(".");
  const oncePublic = fromBase64Url(once);
  const sender = await crypto.subtle.importKey("raw", oncePublic, "X25519", false, []);
  const { privateKey } = await sealPair(Uint8Array.from(clientKey));
  const key = await sealingKey(privateKey, sender, oncePublic, to, "decrypt");
  return new Uint8Array(await crypto.subtle.decrypt({ name: "AES-GCM", iv: NO_NONCE }, key, fromBase64Url(text)));
}

/** Each key seals one message only. */
const NO_NONCE = new Uint8Array(12);
/** DER of a PKCS #8 X25519 private key, up to its 32 bytes. */
const PKCS8_HEAD = Uint8Array.from([48, 46, 2, 1, 0, 48, 5, 6, 3, 43, 101, 110, 4, 34, 4, 32]);

async function sealPair(clientKey: Bytes): Promise<{ publicKey: string; privateKey: CryptoKey }> {
  const seed = new Uint8Array(await hkdf(clientKey, new Uint8Array(), "lamplighter seal key"));
  const pkcs8 = new Uint8Array([...PKCS8_HEAD, ...seed]);
  const privateKey = await crypto.subtle.importKey("pkcs8", pkcs8, "X25519", true, ["deriveBits"]);
  const jwk = (await crypto.subtle.exportKey("jwk", privateKey)) as JsonWebKey;
  return { publicKey: jwk.x as string, privateKey };
}

async function sealingKey(
  mine: CryptoKey,
  theirs: CryptoKey,
  oncePublic: Bytes,
  to: string,
  use: "encrypt" | "decrypt",
): Promise<CryptoKey> {
  const agreement = { name: "X25519", public: theirs };
  const agreed = await crypto.subtle.deriveBits(agreement, mine, 256);
  const raw = await hkdf(new Uint8Array(agreed), oncePublic, `lamplighter bridge ${to}`);
  return crypto.subtle.importKey("raw", raw, "AES-GCM", false, [use]);
}

async function hkdf(secret: Bytes, salt: Bytes, info: string): Promise<ArrayBuffer> {
  const key = await crypto.subtle.importKey("raw", secret, "HKDF", false, ["deriveBits"]);
  return crypto.subtle.deriveBits({ name: "HKDF", hash: "SHA-256", salt, info: encode(info) }, key, 256);
}

async function hmac(secret: ArrayBuffer, text: string): Promise<Bytes> {
  const key = await crypto.subtle.importKey("raw", secret, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", key, encode(text)));
}

const encode = (text: string): Bytes => new Uint8Array(new TextEncoder().encode(text));
const base64 = (bytes: Bytes): string => btoa(String.fromCharCode(...bytes));
