import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { ClientBoundary, ServerBoundary } from "../postgres/wire/boundary.ts";
import { message, parseReport, TYPE } from "../postgres/wire/message.ts";
import { setsOverride } from "./commit-override.ts";
import type { Counters } from "./counters.ts";
import { readInPlace } from "./in-place.ts";
import { type Refusal, refusal } from "./refusal.ts";

/** A client is told why its session ends at the next end of a message, and cut when there is none in this time. */
const BOUNDARY_MS = 1_000;
/** After its client has gone a backend is asked to cancel this often, */
const CANCEL_EVERY_MS = 2_000;
/** and cut after this long. */
const GONE_MOST_MS = 30_000;
/** For what is on its way to a side when the session ends. */
const LEFT_MS = 30_000;
/** What a statement does is looked for in no longer a chunk. */
const LOOKED_INTO = 512;
const IDLE = 0x49;
const TERMINATE = message(TYPE.terminate);

export type Phase = "idle" | "active" | "in_transaction";

export type SessionOptions = {
  client: Duplex;
  backend: Socket;
  counters: Counters;
  /** Asks PostgreSQL to cancel what the backend does. */
  cancel: () => void;
  log: (line: string) => void;
  ended: () => void;
};

/**
 * A client and its own backend, joined until one of them ends. Chunks pass as they are; only the lengths of messages are followed, so that an error of
 * ours never lands in the middle of one, and so that what was asked and not answered is known when a side is lost.
 */
export class Session {
  readonly #options: SessionOptions;
  #client: Duplex;
  #backend: Duplex;
  readonly #asked = new ClientBoundary();
  readonly #answered: ServerBoundary;
  #lastChunk: Buffer | null = null;
  #fatal = false;
  #doubt = false;
  #over = false;
  #clientGone = false;
  #why: Refusal | null = null;
  #gentle = false;
  #timer: NodeJS.Timeout | null = null;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#client = options.client;
    this.#backend = options.backend;
    this.#answered = new ServerBoundary((type, body) => this.#report(type, body));
  }

  /** @param early what each side has sent before */
  start(early: { client: Buffer; backend: Buffer }): void {
    const fromClient = readInPlace(this.#client, this.#fromClient, () => this.#backend.writableLength > 0);
    const fromBackend = readInPlace(this.#backend, this.#fromBackend, () => this.#client.writableLength > 0);
    this.#client = fromClient.stream;
    this.#backend = fromBackend.stream;
    const [client, backend] = [this.#client, this.#backend];
    client.on("drain", () => backend.resume());
    client.on("end", () => this.#clientEnded());
    client.on("error", () => this.#clientEnded());
    client.on("close", () => this.#clientEnded());
    backend.on("drain", () => client.resume());
    backend.on("end", () => this.#backendEnded());
    backend.on("error", () => this.#backendEnded());
    backend.on("close", () => this.#backendEnded());
    for (const chunk of [early.backend, fromBackend.read]) if (chunk && chunk.length > 0) this.#fromBackend(chunk);
    for (const chunk of [early.client, fromClient.read]) if (chunk && chunk.length > 0) this.#fromClient(chunk);
    if (!backend.writableNeedDrain) client.resume();
    if (!client.writableNeedDrain) backend.resume();
    if (client.destroyed || client.readableEnded) this.#clientEnded();
    if (backend.destroyed || backend.readableEnded) this.#backendEnded();
  }

  get phase(): Phase {
    if (this.#answered.status !== IDLE) return "in_transaction";
    return this.#owed ? "active" : "idle";
  }

  /** How many times PostgreSQL was ready for the next question. */
  get answered(): number {
    return this.#answered.answered;
  }

  /** Ends the session: with the statement that runs, or, when `gentle`, once nothing runs and no transaction is open. */
  end(why: Refusal, gentle = false): void {
    if (this.#over) return;
    this.#why ??= why;
    this.#gentle = gentle;
    if (gentle && this.phase !== "idle") return;
    if (this.#answered.between) this.#tell(this.#why);
    else this.#timer ??= setTimeout(() => this.#cut(), BOUNDARY_MS);
  }

  get #owed(): boolean {
    return this.#asked.sent > this.#answered.answered;
  }

  readonly #fromClient = (chunk: Buffer): void => {
    if (this.#over) return;
    const isShort = chunk.length <= LOOKED_INTO;
    if (isShort && this.#asked.between && setsOverride(chunk)) this.#options.counters.commit_overrides_total++;
    this.#asked.follow(chunk);
    // Stays as it is until the next one is read.
    this.#lastChunk = isShort ? chunk : null;
    this.#options.counters.bytes_from_clients_total += chunk.length;
    if (!this.#backend.write(chunk)) this.#client.pause();
  };

  readonly #fromBackend = (chunk: Buffer): void => {
    if (this.#over) return;
    const client = this.#client;
    const passes = this.#answered.follow(chunk);
    // Whoever vanished takes nothing, and PostgreSQL must not wait for it.
    if (this.#clientGone && !this.#asked.terminated) return;
    this.#options.counters.bytes_to_clients_total += passes;
    if (this.#doubt) {
      // Before the CommandComplete that claims a commit which the keepers do not have.
      if (passes > 0) client.write(chunk.subarray(0, passes));
      this.#tell(refusal("not_durable"));
      return;
    }
    if (!client.write(chunk) && !client.destroyed) this.#backend.pause();
    if (this.#why !== null && this.#answered.between && !(this.#gentle && this.phase !== "idle")) this.#tell(this.#why);
  };

  #report(type: number, body: Buffer): "pass" | "stop" {
    const fields = parseReport(body);
    if (type === TYPE.errorResponse) {
      if (fields.V === "FATAL" || fields.V === "PANIC") this.#fatal = true;
      return "pass";
    }
    // A wait for the keepers that was cut short is told in a warning, and the commit is then acknowledged all the same. Known by the name of
    // the function in PostgreSQL: the text is in the server's language.
    if (fields.C !== "01000" || fields.R !== "SyncRepWaitForLSN") return "pass";
    this.#doubt = true;
    this.#options.counters.commits_in_doubt_total++;
    return "stop";
  }

  #clientEnded(): void {
    if (this.#over || this.#clientGone) return;
    this.#clientGone = true;
    const { cancel } = this.#options;
    if (!this.#asked.terminated || this.#client.destroyed) this.#backend.resume();
    this.#backend.end();
    // With a Terminate it has said goodbye: what it sent before is carried out, as PostgreSQL itself does it.
    const cancels = this.#owed && !this.#asked.terminated;
    if (cancels) cancel();
    const since = performance.now();
    this.#timer = setInterval(() => {
      if (performance.now() - since > GONE_MOST_MS && !this.#asked.terminated) this.#cut();
      else if (cancels && this.#owed) cancel();
    }, CANCEL_EVERY_MS);
  }

  #backendEnded(): void {
    if (this.#over) return;
    if (this.#fatal || this.#asked.terminated || this.#clientGone) {
      this.#finish();
      return;
    }
    this.#options.counters.backends_lost_total++;
    const why = this.#owed && !this.#surelyUncommitted() ? "in_doubt" : "backend_lost";
    this.#options.log(`a session has lost PostgreSQL (${this.phase})`);
    if (this.#answered.between) this.#tell(refusal(why));
    else this.#cut();
  }

  /** In a transaction, and what was asked last is a statement that can be read and does not end it. */
  #surelyUncommitted(): boolean {
    const last = this.#lastChunk;
    if (this.#answered.status === IDLE || last === null) return false;
    if (last[0] !== TYPE.query && last[0] !== TYPE.parse) return false;
    return !/\b(commit|end|prepare)\b/i.test(last.toString("latin1"));
  }

  /** The last word to the client. */
  #tell(why: Refusal): void {
    const [client, backend] = [this.#client, this.#backend];
    if (this.#over) return;
    client.write(why.packet);
    if (!backend.destroyed) {
      if (this.#owed || this.#answered.status !== IDLE) this.#options.cancel();
      backend.end(TERMINATE);
    }
    this.#finish();
  }

  #finish(): void {
    if (this.#over) return;
    this.#close();
    // Whoever does not take what is left in time does not get it.
    for (const side of [this.#client, this.#backend]) {
      const cut = setTimeout(() => side.destroy(), LEFT_MS).unref();
      side.once("close", () => clearTimeout(cut));
      side.end(() => setTimeout(() => side.destroy(), BOUNDARY_MS).unref());
      side.resume();
    }
  }

  #cut(): void {
    if (this.#over) return;
    this.#close();
    this.#client.destroy();
    this.#backend.destroy();
  }

  #close(): void {
    this.#over = true;
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#lastChunk = null;
    this.#options.ended();
  }
}
