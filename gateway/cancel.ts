import { randomBytes, timingSafeEqual } from "node:crypto";
import { connect } from "node:net";
import { cancelPacket, PROTOCOL_3_2 } from "../postgres/wire/startup.ts";
import type { Counters } from "./counters.ts";

export const GATEWAY_NUMBER_MOST = 1023;
const NUMBER_BITS = 10;
/** With these, and ten bits of the gateway's number, a process id is a positive number of 31 bits. */
const OWN_BITS = 31 - NUMBER_BITS;
const KEY_BYTES = 4;
/** Of protocol 3.2, in which a key may be longer. */
const LONG_KEY_BYTES = 24;
const FORWARDED = Buffer.from([1]);
const FORWARD_MS = 10_000;

export type CancelKey = { pid: number; key: Buffer };
type Entry = { key: Buffer; cancel: () => void };

export type Peer = { host: string; port: number };

/**
 * The keys that clients are given in place of PostgreSQL's own. The process id says which gateway gave it, so that a request that reaches another
 * gateway can be passed on, once; what is unknown is dropped without a word, as PostgreSQL does.
 */
export class CancelKeys {
  readonly #number: number;
  readonly #peers: ReadonlyMap<number, Peer>;
  readonly #counters: Counters;
  readonly #entries = new Map<number, Entry>();

  constructor(number: number, peers: ReadonlyMap<number, Peer>, counters: Counters) {
    this.#number = number;
    this.#peers = peers;
    this.#counters = counters;
  }

  /** @param cancel called for a request with this key, until the key is withdrawn */
  issue(protocol: number, cancel: () => void): CancelKey {
    const key = randomBytes(protocol >= PROTOCOL_3_2 ? LONG_KEY_BYTES : KEY_BYTES);
    for (;;) {
      const pid = this.#number * 2 ** OWN_BITS + (randomBytes(4).readUInt32BE(0) % 2 ** OWN_BITS);
      if (pid === 0 || this.#entries.has(pid)) continue;
      this.#entries.set(pid, { key, cancel });
      return { pid, key };
    }
  }

  withdraw({ pid }: CancelKey): void {
    this.#entries.delete(pid);
  }

  async request(pid: number, key: Buffer): Promise<void> {
    const forwarded = key.length === KEY_BYTES + 1 || key.length === LONG_KEY_BYTES + 1;
    const own = forwarded ? key.subarray(0, -1) : key;
    const number = Math.floor(pid / 2 ** OWN_BITS);
    const peer = this.#peers.get(number);
    if (number !== this.#number && peer !== undefined && !forwarded) {
      this.#counters.cancels_forwarded_total++;
      await forward(peer, cancelPacket(pid, Buffer.concat([own, FORWARDED])));
      return;
    }
    const entry = this.#entries.get(pid);
    if (entry === undefined || entry.key.length !== own.length || !timingSafeEqual(entry.key, own)) {
      this.#counters.cancels_unknown_total++;
      return;
    }
    this.#counters.cancels_total++;
    entry.cancel();
  }
}

/** Resolves when the peer has taken it; never rejects. */
function forward({ host, port }: Peer, packet: Buffer): Promise<void> {
  return new Promise((done) => {
    const socket = connect({ host, port });
    socket.setTimeout(FORWARD_MS, () => socket.destroy());
    socket.on("error", () => {});
    socket.on("close", () => done());
    socket.on("connect", () => socket.end(packet));
    socket.resume();
  });
}
