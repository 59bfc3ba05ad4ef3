import { createHash, generateKeyPairSync, randomBytes, sign, X509Certificate } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { isIPv4 } from "node:net";
import { dirname, join } from "node:path";
import { createSecureContext, type SecureContext } from "node:tls";

const CHECKED_EVERY_MS = 5_000;
const VALID_YEARS = 10;

export type CertificateFiles = { certificate: string; key: string };

/** The certificate that clients are shown. Its files are looked at again every few seconds: a renewed one is used without a restart. */
export class Certificate {
  readonly #files: CertificateFiles;
  readonly #log: (line: string) => void;
  readonly #timer: NodeJS.Timeout;
  #seen = "";
  #context: SecureContext;
  #binding: Buffer | null;

  /** Throws when the files are not a certificate and its key. */
  constructor(files: CertificateFiles, log: (line: string) => void) {
    this.#files = files;
    this.#log = log;
    this.#seen = this.#state();
    [this.#context, this.#binding] = this.#load();
    this.#timer = setInterval(() => this.refresh(), CHECKED_EVERY_MS).unref();
  }

  get context(): SecureContext {
    return this.#context;
  }

  /** RFC 5929 `tls-server-end-point`. */
  get channelBinding(): Buffer | null {
    return this.#binding;
  }

  refresh(): void {
    const state = this.#state();
    if (state === this.#seen) return;
    try {
      [this.#context, this.#binding] = this.#load();
      this.#log(`the certificate ${this.#files.certificate} has changed and is used`);
    } catch (error) {
      this.#log(
        `the certificate ${this.#files.certificate} has changed and cannot be used, the former one stays: ${(error as Error).message}`,
      );
    }
    this.#seen = state;
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #load(): [SecureContext, Buffer | null] {
    const cert = readFileSync(this.#files.certificate);
    const key = readFileSync(this.#files.key);
    const context = createSecureContext({ cert, key, minVersion: "TLSv1.2" });
    return [context, endPoint(new X509Certificate(cert))];
  }

  #state(): string {
    return [this.#files.certificate, this.#files.key]
      .map((path) => {
        const found = statSync(path, { throwIfNoEntry: false });
        return `${found?.mtimeMs} ${found?.size} ${found?.ino}`;
      })
      .join();
  }
}

/** The hash of the certificate by its own signature's hash, and by SHA-256 where that is MD5 or SHA-1. Some signatures have none. */
export function endPoint(certificate: X509Certificate): Buffer | null {
  const algorithm = certificate.signatureAlgorithm ?? "";
  const hash = /sha-?(1|224|256|384|512)|md5/i.exec(algorithm)?.[0].toLowerCase().replace("-", "");
  if (hash === undefined) return null;
  return createHash(hash === "md5" || hash === "sha1" ? "sha256" : hash)
    .update(certificate.raw)
    .digest();
}

/** The certificate of this folder, made when there is none. */
export function selfSignedIn(folder: string, names: readonly string[]): CertificateFiles {
  const files = { certificate: join(folder, "gateway.crt"), key: join(folder, "gateway.key") };
  if (!existsSync(files.certificate) || !existsSync(files.key)) {
    const made = selfSigned(names, Date.now());
    mkdirSync(dirname(files.key), { recursive: true, mode: 0o700 });
    writeFileSync(files.key, made.key, { mode: 0o600 });
    writeFileSync(files.certificate, made.certificate, { mode: 0o644 });
  }
  return files;
}

/** @param names host names and IPv4 addresses that it is good for */
export function selfSigned(names: readonly string[], now: number): { certificate: string; key: string } {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const signature = sequence(oid("1.2.840.10045.4.3.2"));
  const subject = sequence(set(sequence(oid("2.5.4.3"), der(0x0c, Buffer.from("lamplighter gateway")))));
  const from = new Date(now - 3600_000);
  const until = new Date(now);
  until.setUTCFullYear(until.getUTCFullYear() + VALID_YEARS);
  const serial = randomBytes(16);
  // Positive, and without leading zeroes.
  serial[0] = ((serial[0] as number) & 0x7f) | 0x40;
  const alternatives = names.map((name) =>
    isIPv4(name) ? der(0x87, Buffer.from(name.split(".").map(Number))) : der(0x82, Buffer.from(name, "latin1")),
  );
  const extensions = sequence(
    extension("2.5.29.19", true, sequence(der(0x01, Buffer.from([0xff])))),
    extension("2.5.29.15", true, der(0x03, Buffer.from([2, 0x84]))),
    extension("2.5.29.37", false, sequence(oid("1.3.6.1.5.5.7.3.1"))),
    extension("2.5.29.17", false, sequence(...alternatives)),
  );
  const body = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, serial),
    signature,
    subject,
    sequence(time(from), time(until)),
    subject,
    publicKey.export({ type: "spki", format: "der" }),
    der(0xa3, extensions),
  );
  const signed = sign("sha256", body, privateKey);
  const whole = sequence(body, signature, der(0x03, Buffer.concat([Buffer.from([0]), signed])));
  const lines = whole.toString("base64").match(/.{1,64}/g) as string[];
  return {
    certificate: `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: "pkcs8", format: "pem" }) as string,
  };
}

function der(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}

const sequence = (...parts: Buffer[]): Buffer => der(0x30, Buffer.concat(parts));
const set = (...parts: Buffer[]): Buffer => der(0x31, Buffer.concat(parts));

function oid(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split(".").map(Number);
  const bytes = [first * 40 + second];
  for (const arc of rest) {
    const digits = [arc & 0x7f];
    for (let left = arc >> 7; left > 0; left >>= 7) digits.unshift((left & 0x7f) | 0x80);
    bytes.push(...digits);
  }
  return der(0x06, Buffer.from(bytes));
}

function extension(id: string, critical: boolean, content: Buffer): Buffer {
  return sequence(oid(id), ...(critical ? [der(0x01, Buffer.from([0xff]))] : []), der(0x04, content));
}

/** UTCTime, which holds up to 2049. */
const time = (at: Date): Buffer => der(0x17, Buffer.from(`${at.toISOString().slice(2, 19).replaceAll(/[-:T]/g, "")}Z`));
