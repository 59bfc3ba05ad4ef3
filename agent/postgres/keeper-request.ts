import { Agent, type ClientRequestArgs, request } from "node:http";
import { type Duplex, Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { ReadableStream } from "node:stream/web";
import { connect, type TLSSocket } from "node:tls";
import type { KeeperAddress } from "../../contract/writer.ts";

export type KeeperRequest = {
  method: string;
  body?: string | ReadableStream | undefined;
  signal?: AbortSignal | undefined;
};

/** Asks a keeper's API. One with a fingerprint has to show exactly that certificate before it is told anything; another one, one that this system trusts. */
export function askKeeper(keeper: KeeperAddress, path: string, asked: KeeperRequest): Promise<Response> {
  const url = new URL(`${keeper.url.replace(/\/+$/, "")}${path}`);
  const headers = {
    authorization: `Bearer ${keeper.token}`,
    ...(typeof asked.body === "string" ? { "content-type": "application/json" } : {}),
  };
  if (keeper.fingerprint !== undefined) return askPinned(url, keeper.fingerprint, headers, asked);
  const { method, body, signal } = asked;
  return fetch(url, {
    ...{ method, headers },
    ...(body === undefined ? {} : { body, duplex: "half" }),
    ...(signal === undefined ? {} : { signal }),
  } as RequestInit);
}

async function askPinned(
  url: URL,
  fingerprint: string,
  headers: Record<string, string>,
  { method, body, signal }: KeeperRequest,
): Promise<Response> {
  const path = `${url.pathname}${url.search}`;
  const asking = request({
    ...{ method, host: hostOf(url), port: Number(url.port || 443), path, headers: { ...headers, host: url.host } },
    ...(signal === undefined ? {} : { signal }),
    agent: pinnedTo(url, fingerprint),
  });
  return new Promise((answered, failed) => {
    // Node itself tells of it only once it has a connection, which one who does not finish the handshake holds back.
    const aborted = () => failed(signal?.reason);
    signal?.addEventListener("abort", aborted, { once: true });
    asking.once("close", () => signal?.removeEventListener("abort", aborted));
    asking.once("error", (error: NodeJS.ErrnoException) => {
      // A connection that was kept has just been closed by the other side. Every request may be made twice.
      const isAgain = asking.reusedSocket && error.code === "ECONNRESET" && typeof body !== "object";
      if (!isAgain) return failed(error);
      askPinned(url, fingerprint, headers, { method, body, signal }).then(answered, failed);
    });
    asking.once("response", (response) => {
      const type = response.headers["content-type"] ?? "application/json";
      const stream = Readable.toWeb(response) as ConstructorParameters<typeof Response>[0];
      answered(new Response(stream, { status: response.statusCode ?? 500, headers: { "content-type": type } }));
    });
    if (body === undefined || typeof body === "string") asking.end(body);
    else pipeline(Readable.fromWeb(body), asking).catch(failed);
  });
}

/** The connections to one keeper, kept open for a while as `fetch` does: a start asks several times. */
class Pinned extends Agent {
  readonly #fingerprint: string;

  constructor(fingerprint: string) {
    super({ keepAlive: true, timeout: KEPT_MS });
    this.#fingerprint = fingerprint;
  }

  override createConnection(to: ClientRequestArgs, done?: (error: Error | null, socket: Duplex) => void): undefined {
    secured(String(to.host), Number(to.port), this.#fingerprint).then(
      (socket) => done?.(null, socket),
      (error: Error) => done?.(error, null as unknown as Duplex),
    );
  }
}

const KEPT_MS = 3_000;
const SECURED_MS = 10_000;
const pinned = new Map<string, Pinned>();

function pinnedTo(url: URL, fingerprint: string): Pinned {
  const name = `${url.host} ${fingerprint}`;
  const agent = pinned.get(name) ?? new Pinned(fingerprint);
  pinned.set(name, agent);
  return agent;
}

function secured(host: string, port: number, fingerprint: string): Promise<TLSSocket> {
  return new Promise((ready, failed) => {
    // Whoever vouches for it, and whatever name it is for: it is known by its fingerprint.
    const socket = connect({ host, port, rejectUnauthorized: false });
    const late = setTimeout(() => socket.destroy(new Error("it does not finish the TLS handshake")), SECURED_MS);
    socket.once("error", failed);
    socket.once("close", () => clearTimeout(late));
    socket.once("secureConnect", () => {
      clearTimeout(late);
      const shown = fingerprintOf(socket.getPeerCertificate().fingerprint256 ?? "");
      if (shown === fingerprint) {
        socket.off("error", failed);
        return ready(socket);
      }
      socket.destroy();
      failed(new Error("it shows another certificate than the one that KEEPERS names"));
    });
  });
}

const hostOf = (url: URL): string => url.hostname.replace(/^\[|\]$/g, "");

/** As it is written in KEEPERS: without colons, in small letters. */
const fingerprintOf = (text: string): string => text.replaceAll(":", "").toLowerCase();
