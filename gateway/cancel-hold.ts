import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { MessageReader, message, TYPE } from "../postgres/wire/message.ts";
import { type Backend, type BackendLogin, cancelBackend, logIn } from "./backend.ts";
import type { Counters } from "./counters.ts";
import { Inbox } from "./inbox.ts";

/** So long a commit may wait for the keepers before a cancel request gets to it. */
const HELD_MOST_MS = 10_000;
const LOOK_EVERY_MS = 250;
/** A PostgreSQL that does not answer by then is not waited for. */
const LOOK_WITHIN_MS = 2_000;
const ANSWER_MOST = 64 * 1024;

export type Cancelling = {
  /** By which its backend was logged in to. */
  login: BackendLogin;
  backend: Pick<Backend, "pid" | "key">;
  /** How many times its backend was ready for the next question. */
  answered: () => number;
  counters: Counters;
};

/**
 * What a cancel request for a session does. A commit that waits for the keepers is made already: PostgreSQL would only stop waiting, and show others what may
 * still be lost. So it is left to wait, for a while; when it has been answered, there is nothing left to cancel.
 */
export function cancelling(options: Cancelling): () => void {
  const hold = { held: false };
  return () => {
    if (!hold.held) void pass(options, hold).finally(() => (hold.held = false));
  };
}

async function pass({ login, backend, answered, counters }: Cancelling, hold: { held: boolean }): Promise<void> {
  const asked = answered();
  const end = performance.now() + HELD_MOST_MS;
  const watch = await Watch.open(login).catch(() => null);
  // Who cannot be asked, for want of a connection perhaps, is cancelled at once.
  while (performance.now() < end && ((await watch?.waits(backend.pid).catch(() => false)) ?? false)) {
    if (!hold.held) counters.cancels_held_total++;
    hold.held = true;
    await sleep(LOOK_EVERY_MS, undefined, { ref: false });
    if (answered() !== asked) break;
  }
  watch?.close();
  if (!hold.held || answered() === asked) await cancelBackend(login.endpoint, backend.pid, backend.key);
}

/** A connection of the client's own role, for one that sees what its backends wait for. There is one only while a request to cancel is looked into. */
class Watch {
  readonly #socket: Socket;
  readonly #inbox: Inbox<MessageReader>;

  static async open(login: BackendLogin): Promise<Watch> {
    const settings: [string, string][] = [["application_name", "lamplighter gateway"]];
    const { socket, rest } = await logIn({ ...login, settings }, AbortSignal.timeout(LOOK_WITHIN_MS));
    return new Watch(socket, rest);
  }

  private constructor(socket: Socket, rest: Buffer) {
    this.#socket = socket;
    this.#inbox = new Inbox(socket, new MessageReader(ANSWER_MOST, rest));
    socket.resume();
  }

  /** Whether a backend's commit waits for the keepers now. */
  async waits(pid: number): Promise<boolean> {
    const timer = setTimeout(() => this.close(), LOOK_WITHIN_MS);
    const where = `pid OPERATOR(pg_catalog.=) ${pid} AND wait_event OPERATOR(pg_catalog.=) 'SyncRep'`;
    this.#socket.write(message(TYPE.query, `SELECT FROM pg_catalog.pg_stat_activity WHERE ${where}\0`));
    try {
      for (let found = false; ; ) {
        const { type, body } = await this.#inbox.until((reader) => reader.take());
        if (type === TYPE.commandComplete) found = body.toString("latin1").startsWith("SELECT 1");
        if (type === TYPE.readyForQuery) return found;
      }
    } finally {
      clearTimeout(timer);
    }
  }

  close(): void {
    this.#socket.end(message(TYPE.terminate));
    this.#socket.destroySoon();
  }
}
