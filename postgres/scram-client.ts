import { createHash, createHmac, pbkdf2, randomBytes, timingSafeEqual } from "node:crypto";
import { promisify } from "node:util";

const derive = promisify(pbkdf2);
/** A server that asks for more would keep a client computing. */
const MOST_ITERATIONS = 1_000_000;

/** The client's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), without channel binding. One object serves one login. */
export class ScramClient {
  readonly #password: string;
  readonly #nonce: string;
  readonly #firstBare: string;
  #serverSignature: Buffer | null = null;

  constructor(password: string, nonce: string = randomBytes(18).toString("base64")) {
    this.#password = password;
    this.#nonce = nonce;
    // PostgreSQL takes the user from the startup packet and wants none here.
    this.#firstBare = `n=,r=${nonce}`;
  }

  first(): string {
    return `n,,${this.#firstBare}`;
  }

  async final(serverFirst: string): Promise<string> {
    const fields = attributes(serverFirst);
    const nonce = fields.get("r") ?? "";
    const salt = Buffer.from(fields.get("s") ?? "", "base64");
    const iterations = Number(fields.get("i"));
    if (!nonce.startsWith(this.#nonce) || nonce.length === this.#nonce.length)
      throw new Error("the server's SCRAM nonce does not continue ours");
    if (salt.length === 0 || !Number.isInteger(iterations) || iterations < 1 || iterations > MOST_ITERATIONS)
      throw new Error("the server's SCRAM challenge is malformed");
    const salted = await derive(this.#password.normalize("NFKC"), salt, iterations, 32, "sha256");
    const clientKey = hmac(salted, "Client Key");
    const storedKey = createHash("sha256").update(clientKey).digest();
    const withoutProof = `c=${Buffer.from("n,,").toString("base64")},r=${nonce}`;
    const message = `${this.#firstBare},${serverFirst},${withoutProof}`;
    const signature = hmac(storedKey, message);
    const proof = Buffer.from(clientKey.map((byte, i) => byte ^ (signature[i] as number)));
    this.#serverSignature = hmac(hmac(salted, "Server Key"), message);
    return `${withoutProof},p=${proof.toString("base64")}`;
  }

  /** Throws unless the server has shown that it knows the password's verifier. */
  verify(serverFinal: string): void {
    const given = Buffer.from(attributes(serverFinal).get("v") ?? "", "base64");
    const expected = this.#serverSignature;
    if (expected === null || given.length !== expected.length || !timingSafeEqual(given, expected))
      throw new Error("the server's SCRAM signature is wrong: it does not know this password");
  }
}

/** What PostgreSQL keeps instead of a password. */
export async function scramVerifier(
  password: string,
  salt: Buffer = randomBytes(16),
  iterations: number = 4096,
): Promise<string> {
  const salted = await derive(password.normalize("NFKC"), salt, iterations, 32, "sha256");
  const storedKey = createHash("sha256").update(hmac(salted, "Client Key")).digest("base64");
  const serverKey = hmac(salted, "Server Key").toString("base64");
  return `SCRAM-SHA-256$${iterations}:${salt.toString("base64")}$${storedKey}:${serverKey}`;
}

const hmac = (key: Buffer, text: string): Buffer => createHmac("sha256", key).update(text).digest();

function attributes(message: string): Map<string, string> {
  return new Map(message.split(",").map((part) => [part.slice(0, 1), part.slice(2)]));
}
