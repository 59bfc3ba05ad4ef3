import { createHash, createHmac, randomBytes, timingSafeEqual } from "node:crypto";

export const SCRAM = "SCRAM-SHA-256";
export const SCRAM_PLUS = "SCRAM-SHA-256-PLUS";
/** PostgreSQL's own limit of one SASL message. */
export const SASL_MOST = 1024;

/** What proves a password without knowing it. */
export type ScramKeys = { storedKey: Buffer; serverKey: Buffer };

/** An exchange that does not follow RFC 5802. `code` is the SQLSTATE to refuse it with. */
export class ScramError extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

export type ScramResult =
  /** `which` of the keys fits. With the ClientKey one can log in wherever the same verifier is known. */
  { ok: true; which: number; clientKey: Buffer; serverFinal: string } | { ok: false };

export type ScramServerOptions = {
  salt: Buffer;
  iterations: number;
  /** All that are valid now. Nobody can tell from outside how many these are, or that there is none. */
  keys: readonly ScramKeys[];
  /** RFC 5929 `tls-server-end-point`; null without TLS, or when the certificate has none. */
  channelBinding: Buffer | null;
  nonce?: string;
};

/** How many keys are always compared. */
const COMPARED = 2;

/** The server's side of one SCRAM-SHA-256 exchange (RFC 7677), with or without channel binding. */
export class ScramServer {
  readonly #options: ScramServerOptions;
  #gs2 = "";
  #clientBare = "";
  #serverFirst = "";
  #nonce = "";
  #bound = false;

  constructor(options: ScramServerOptions) {
    this.#options = options;
  }

  get mechanisms(): string[] {
    return this.#options.channelBinding === null ? [SCRAM] : [SCRAM_PLUS, SCRAM];
  }

  /** Takes client-first, answers server-first. */
  first(mechanism: string, clientFirst: string): string {
    if (!this.mechanisms.includes(mechanism))
      throw new ScramError("08P01", "client selected an invalid SASL authentication mechanism");
    const match = /^(n|y|p=([A-Za-z0-9.-]+)),(a=[^,]*)?,(n=[^,]*,r=([\x21-\x2b\x2d-\x7e]+)(?:,.*)?)$/s.exec(
      clientFirst,
    );
    if (match === null) throw malformed();
    const [, flag, binding, authzid, bare, clientNonce] = match as unknown as string[];
    if (authzid !== undefined)
      throw new ScramError("0A000", "client uses authorization identity, but it is not supported");
    this.#bound = mechanism === SCRAM_PLUS;
    if (this.#bound !== (binding !== undefined)) throw malformed();
    if (binding !== undefined && binding !== "tls-server-end-point")
      throw new ScramError("08P01", "unsupported SCRAM channel-binding type");
    // It could bind and believes that we cannot: somebody between has changed the list.
    if (flag === "y" && this.#options.channelBinding !== null)
      throw new ScramError("28000", "SCRAM channel binding negotiation error");
    this.#gs2 = `${flag},,`;
    this.#clientBare = bare as string;
    this.#nonce = `${clientNonce}${this.#options.nonce ?? randomBytes(18).toString("base64")}`;
    this.#serverFirst = `r=${this.#nonce},s=${this.#options.salt.toString("base64")},i=${this.#options.iterations}`;
    return this.#serverFirst;
  }

  /** Takes client-final. */
  final(clientFinal: string): ScramResult {
    const match = /^(c=([A-Za-z0-9+/=]+),r=([^,]+)(?:,.*)?),p=([A-Za-z0-9+/]{43}=)$/s.exec(clientFinal);
    if (match === null) throw malformed();
    const [, withoutProof, channel, nonce, proofText] = match as unknown as string[];
    const expected = Buffer.concat([
      Buffer.from(this.#gs2, "latin1"),
      (this.#bound && this.#options.channelBinding) || Buffer.alloc(0),
    ]).toString("base64");
    if (channel !== expected) throw new ScramError("28000", "SCRAM channel binding check failed");
    if (nonce !== this.#nonce) throw malformed();
    const proof = Buffer.from(proofText as string, "base64");
    const authMessage = `${this.#clientBare},${this.#serverFirst},${withoutProof}`;
    let result: ScramResult = { ok: false };
    for (let which = 0; which < Math.max(COMPARED, this.#options.keys.length); which++) {
      const known = this.#options.keys[which];
      const keys = known ?? MOCK;
      const clientKey = xor(proof, hmac(keys.storedKey, authMessage));
      const fits = timingSafeEqual(sha256(clientKey), keys.storedKey);
      const serverFinal = `v=${hmac(keys.serverKey, authMessage).toString("base64")}`;
      if (fits && known !== undefined) result = { ok: true, which, clientKey, serverFinal };
    }
    return result;
  }
}

/** The client's side, with a ClientKey in place of the password: the salt and the rounds no longer matter. */
export class ScramClient {
  readonly #clientKey: Buffer;
  readonly #serverKey: Buffer;
  readonly #nonce: string;
  #authMessage = "";

  constructor({ clientKey, serverKey, nonce }: { clientKey: Buffer; serverKey: Buffer; nonce?: string }) {
    this.#clientKey = clientKey;
    this.#serverKey = serverKey;
    this.#nonce = nonce ?? randomBytes(18).toString("base64");
  }

  get first(): string {
    return `n,,n=,r=${this.#nonce}`;
  }

  final(serverFirst: string): string {
    const nonce = /^r=([^,]+),s=[^,]+,i=\d+/.exec(serverFirst)?.[1];
    if (nonce === undefined || !nonce.startsWith(this.#nonce) || nonce.length === this.#nonce.length) throw malformed();
    const withoutProof = `c=biws,r=${nonce}`;
    this.#authMessage = `n=,r=${this.#nonce},${serverFirst},${withoutProof}`;
    const signature = hmac(sha256(this.#clientKey), this.#authMessage);
    return `${withoutProof},p=${xor(this.#clientKey, signature).toString("base64")}`;
  }

  /** Whether the server, too, knows the verifier. */
  verify(serverFinal: string): boolean {
    const expected = Buffer.from(`v=${hmac(this.#serverKey, this.#authMessage).toString("base64")}`);
    const given = Buffer.from(serverFinal);
    return given.length === expected.length && timingSafeEqual(given, expected);
  }
}

const MOCK: ScramKeys = { storedKey: randomBytes(32), serverKey: randomBytes(32) };

const malformed = () => new ScramError("08P01", "malformed SCRAM message");
const sha256 = (data: Buffer): Buffer => createHash("sha256").update(data).digest();
const hmac = (key: Buffer, data: string): Buffer => createHmac("sha256", key).update(data, "latin1").digest();

function xor(left: Buffer, right: Buffer): Buffer {
  const result = Buffer.alloc(left.length);
  for (let i = 0; i < left.length; i++) result[i] = (left[i] as number) ^ (right[i] as number);
  return result;
}
