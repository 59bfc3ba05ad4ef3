import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { GatewayClient } from "../contract/gateway.ts";
import { negotiateProtocolVersion } from "../postgres/wire/message.ts";
import { StartupError, type StartupPacket, StartupReader } from "../postgres/wire/startup.ts";
import { attach } from "./attach.ts";
import { authenticate } from "./authenticate.ts";
import type { Certificate } from "./certificate.ts";
import { countRefusal } from "./counters.ts";
import { encrypt, TLS_HANDSHAKE } from "./encryption.ts";
import type { Guest } from "./guest.ts";
import type { House, Startup } from "./house.ts";
import { Gone, Inbox } from "./inbox.ts";
import { Refusal, refusal, violation } from "./refusal.ts";
import type { Session } from "./session.ts";
import { within } from "./within.ts";

/** A client that was refused has this long to take the answer. */
const LAST_WORD_MS = 2_000;

type Opened = {
  startup: Startup;
  stream: Socket;
  /** The host name that the client has sent with TLS. */
  serverName: string | null;
  /** Null without TLS. */
  channelBinding: Buffer | null;
  early: Buffer;
};

/** One connection of a client, from its first byte to its last. */
export class Client implements Guest {
  readonly address: string;
  readonly since = Date.now();
  readonly #house: House;
  #stream: Socket;
  #startup: Startup | null = null;
  #session: Session | null = null;
  #progress: ((message: string) => void) | null = null;
  readonly #ending = new AbortController();

  constructor(socket: Socket, house: House) {
    this.#house = house;
    this.#stream = socket;
    this.address = socket.remoteAddress?.replace(/^::ffff:/, "") ?? "";
  }

  /** Serves the client until its session has begun, or it is refused or gone. Never rejects. */
  async serve(): Promise<void> {
    const { counters, log, loginMs } = this.#house;
    counters.logins++;
    const timer = setTimeout(() => this.#ending.abort(refusal("timeout")), loginMs);
    let loggingIn = true;
    const loggedIn = () => {
      if (loggingIn) counters.logins--;
      loggingIn = false;
      clearTimeout(timer);
    };
    try {
      await this.#serve(loggedIn);
    } catch (error) {
      if (error instanceof Refusal) this.#refuse(error);
      else {
        if (!(error instanceof Gone)) log(`a client was dropped: ${error instanceof Error ? error.stack : error}`);
        this.#stream.destroy();
      }
    } finally {
      loggedIn();
    }
  }

  describe(): GatewayClient {
    const name = this.#startup?.settings.find(([key]) => key === "application_name")?.[1] ?? "";
    return {
      address: this.address,
      application_name: Buffer.from(name, "latin1").toString("utf8").slice(0, 63),
      role: this.#startup?.user ?? "",
      since: this.since,
      phase: this.#session?.phase ?? "waiting",
    };
  }

  end(why: Refusal): void {
    if (this.#session) this.#session.end(why);
    // While it is being attached the newer writer is simply the one that it gets.
    else if (why.refusal !== "superseded") this.#ending.abort(why);
  }

  /** Ends the client as soon as nothing of it is interrupted. */
  drain(why: Refusal): void {
    if (this.#session) this.#session.end(why, true);
    else this.#ending.abort(why);
  }

  progress(message: string): void {
    this.#progress?.(message);
  }

  async #serve(loggedIn: () => void): Promise<void> {
    const opened = await this.#open();
    if (opened === null) return;
    const { startup, stream, serverName, channelBinding, early } = opened;
    const { counters } = this.#house;
    this.#startup = startup;
    if (startup.settings.some(([name, value]) => name === "replication" && !/^(false|off|no|0)$/i.test(value)))
      throw refusal("replication");
    if (startup.negotiate !== null) stream.write(negotiateProtocolVersion(startup.protocol, startup.negotiate.unknown));
    const login = await authenticate({
      startup,
      stream,
      serverName,
      early,
      address: this.address,
      channelBinding,
      house: this.#house,
      ending: this.#ending.signal,
    });
    counters.logins_total++;
    loggedIn();
    this.#session = await attach({
      login,
      startup,
      stream,
      guest: this,
      onProgress: (tell) => {
        this.#progress = tell;
      },
      house: this.#house,
      ending: this.#ending.signal,
    });
  }

  /** Reads up to the startup packet, through TLS when it is asked for. Null: it was a cancel request, which has no answer. */
  async #open(): Promise<Opened | null> {
    const { certificate, tlsRequired, cancelKeys } = this.#house;
    let inbox = new Inbox(this.#stream, new StartupReader());
    let secure: { serverName: string | null; channelBinding: Buffer | null } | null = null;
    let gssenc = false;
    for (;;) {
      const first = await this.#within(
        inbox.until((reader) => reader.first ?? null),
        inbox,
      );
      if (first === TLS_HANDSHAKE && secure === null && !gssenc && certificate !== null) {
        ({ inbox, secure } = await this.#encrypt(inbox, certificate, true));
        continue;
      }
      const packet = await this.#within(inbox.until(takePacket), inbox);
      if (packet.kind === "cancel") {
        await cancelKeys.request(packet.pid, packet.key);
        // The only answer there is, as PostgreSQL gives it.
        this.#stream.destroy();
        return null;
      }
      if (packet.kind === "startup") {
        if (tlsRequired && secure === null) throw refusal("plaintext");
        const { serverName, channelBinding } = secure ?? { serverName: null, channelBinding: null };
        return { startup: packet, stream: this.#stream, serverName, channelBinding, early: inbox.release() };
      }
      // Anything behind such a request was sent by somebody who could not know the answer yet.
      if (inbox.reader.rest.length > 0)
        throw violation("08P01", "received unencrypted data after an encryption request");
      if (packet.kind === "gssenc") {
        if (gssenc || secure !== null) throw violation("08P01", "encryption was asked for twice");
        gssenc = true;
        this.#stream.write(NO);
        continue;
      }
      if (secure !== null) throw violation("08P01", "encryption was asked for twice");
      if (certificate === null) {
        this.#stream.write(NO);
        continue;
      }
      this.#stream.write(YES);
      ({ inbox, secure } = await this.#encrypt(inbox, certificate, false));
    }
  }

  async #encrypt(
    inbox: Inbox<StartupReader>,
    certificate: Certificate,
    direct: boolean,
  ): Promise<{ inbox: Inbox<StartupReader>; secure: { serverName: string | null; channelBinding: Buffer | null } }> {
    const raw = this.#stream;
    const early = inbox.release();
    if (early.length > 0) raw.unshift(early);
    const abort = () => raw.destroy();
    this.#ending.signal.addEventListener("abort", abort);
    try {
      const { channelBinding } = certificate;
      const { socket, serverName } = await encrypt(raw, certificate, direct);
      this.#stream = socket;
      return { inbox: new Inbox(socket, new StartupReader()), secure: { serverName, channelBinding } };
    } catch {
      this.#house.counters.tls_failed_total++;
      throw new Gone();
    } finally {
      this.#ending.signal.removeEventListener("abort", abort);
    }
  }

  #within<T>(work: Promise<T>, inbox: { gone: AbortSignal }): Promise<T> {
    return within(work, this.#ending.signal, inbox.gone);
  }

  #refuse(why: Refusal): void {
    const { counters } = this.#house;
    countRefusal(counters, why.report.code);
    const stream: Duplex = this.#stream;
    if (stream.destroyed) return;
    stream.on("error", () => {});
    stream.end(why.packet);
    stream.resume();
    // It may close first, so that what it has not read yet is not lost to a reset.
    const cut = setTimeout(() => stream.destroy(), LAST_WORD_MS);
    stream.once("end", () => stream.destroy());
    stream.once("close", () => clearTimeout(cut));
  }
}

function takePacket(reader: StartupReader): StartupPacket | null {
  try {
    return reader.take();
  } catch (error) {
    if (error instanceof StartupError) throw violation(error.code, error.message);
    throw error;
  }
}

const YES = Buffer.from("S");
const NO = Buffer.from("N");
