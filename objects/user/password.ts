import { argon2idAsync } from "@noble/hashes/argon2.js";
import { fromBase64Url, toBase64Url } from "../../contract/envelope.ts";
import { sameHash } from "../token/secret.ts";

/**
 * Passwords are kept as Argon2id in the PHC string format, `$argon2id$v=19$m=…,t=…,p=…$salt$hash` (base64url): the parameters stand beside
 * the hash, so that they can be raised, and each password follows at its next login. Decision 19 has the measurements.
 */
type Cost = { m: number; t: number; p: number };
export const COST: Readonly<Cost> = { m: 12_288, t: 3, p: 1 };
let cost = COST;
const SALT_BYTES = 16;
const HASH_BYTES = 32;
/** How long it works before it lets others run, ms: on one machine all objects share a thread. */
const SLICE_MS = 5;

const FORM = /^\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$([\w-]+)\$([\w-]+)$/;

type Stored = { cost: Cost; salt: Uint8Array; hash: string };

/** Nobody's: checked where there is no user, so that the answer takes as long. */
export const nobodys = (): string =>
  format({ cost, salt: new Uint8Array(SALT_BYTES), hash: toBase64Url(new Uint8Array(32)) });

export async function hashPassword(password: string): Promise<string> {
  const salt = crypto.getRandomValues(new Uint8Array(SALT_BYTES));
  return format({ cost, salt, hash: await derive(password, salt, cost) });
}

export async function isPassword(stored: string, password: string): Promise<boolean> {
  const { salt, hash, ...made } = parse(stored);
  return sameHash(await derive(password, salt, made.cost), hash);
}

/** Whether it was made with other parameters than a new one would be. */
export function isOutdated(stored: string): boolean {
  const { m, t, p } = parse(stored).cost;
  return m !== cost.m || t !== cost.t || p !== cost.p;
}

/** For tests of what is not about the cost: most of their time would go into it. */
export function costFromNowOn(other: Readonly<Cost>): void {
  cost = other;
}

async function derive(password: string, salt: Uint8Array, { m, t, p }: Cost): Promise<string> {
  // The same characters may be typed as different code points.
  const text = password.normalize("NFKC");
  return toBase64Url(await argon2idAsync(text, salt, { m, t, p, dkLen: HASH_BYTES, asyncTick: SLICE_MS }));
}

function format({ cost: { m, t, p }, salt, hash }: Stored): string {
  return `$argon2id$v=19$m=${m},t=${t},p=${p}$${toBase64Url(salt)}$${hash}`;
}

function parse(stored: string): Stored {
  const [, m, t, p, salt, hash] = FORM.exec(stored) ?? [];
  if (salt === undefined || hash === undefined) throw new Error("a stored password has not the form of one");
  return { cost: { m: Number(m), t: Number(t), p: Number(p) }, salt: fromBase64Url(salt), hash };
}

/** One password is hashed at a time: each takes 12 MiB and a core. Those who would wait too long are sent away. */
export class HashingQueue {
  readonly #longest: number;
  #last: Promise<unknown> = Promise.resolve();
  #length = 0;

  constructor(longest: number) {
    this.#longest = longest;
  }

  get isFull(): boolean {
    return this.#length >= this.#longest;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    this.#length++;
    const mine = this.#last.then(work);
    this.#last = mine.catch(() => undefined);
    try {
      return await mine;
    } finally {
      this.#length--;
    }
  }
}
