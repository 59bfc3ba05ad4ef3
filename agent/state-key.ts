import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { closeSync, fsyncSync, linkSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";

const MARK = "sealed1:";
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/**
 * Seals what the agent keeps about workloads on its disk: AES-256-GCM under a key in a file of its own beside it, so that a copy of the ledger,
 * or of an instance's folder, tells nothing. `process/shim.ts`, which may not import this, opens in the same way.
 */
export class StateKey {
  readonly path: string;
  readonly #key: Buffer;

  private constructor(path: string, key: Buffer) {
    this.path = path;
    this.#key = key;
  }

  /** The key of a data folder, made when there is none. */
  static of(dataDir: string): StateKey {
    const path = join(dataDir, "state.key");
    return new StateKey(path, read(path) ?? make(path));
  }

  seal(text: string): string {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv("aes-256-gcm", this.#key, nonce);
    const hidden = Buffer.concat([cipher.update(text, "utf8"), cipher.final()]);
    return MARK + Buffer.concat([nonce, hidden, cipher.getAuthTag()]).toString("base64");
  }

  /** The text; null when it was sealed with another key, or is damaged. What was written before there was a key is answered as it is. */
  open(text: string): string | null {
    if (!text.startsWith(MARK)) return text;
    const bytes = Buffer.from(text.slice(MARK.length), "base64");
    try {
      const decipher = createDecipheriv("aes-256-gcm", this.#key, bytes.subarray(0, NONCE_BYTES));
      decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
      return Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]).toString(
        "utf8",
      );
    } catch {
      return null;
    }
  }
}

function read(path: string): Buffer | null {
  try {
    const key = readFileSync(path);
    return key.length === KEY_BYTES ? key : null;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

/** There whole or not at all, and on the disk before anything is sealed with it. */
function make(path: string): Buffer {
  const draft = `${path}.${process.pid}`;
  const key = randomBytes(KEY_BYTES);
  const file = openSync(draft, "w", 0o600);
  writeSync(file, key);
  fsyncSync(file);
  closeSync(file);
  try {
    if (read(path) === null) rmSync(path, { force: true });
    linkSync(draft, path);
    return key;
  } catch (error) {
    // Somebody else was faster.
    const theirs = read(path);
    if (theirs === null) throw error;
    return theirs;
  } finally {
    rmSync(draft, { force: true });
  }
}
