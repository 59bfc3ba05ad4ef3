import { createHash, X509Certificate } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { createSecureContext, type SecureContext } from "node:tls";
import { selfSigned } from "../postgres/self-signed.ts";

const CHECKED_EVERY_MS = 5_000;

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
    const made = selfSigned("lamplighter gateway", names, Date.now());
    mkdirSync(dirname(files.key), { recursive: true, mode: 0o700 });
    writeFileSync(files.key, made.key, { mode: 0o600 });
    writeFileSync(files.certificate, made.certificate, { mode: 0o644 });
  }
  return files;
}
