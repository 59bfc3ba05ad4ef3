import { request } from "node:http";
import { Readable } from "node:stream";
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
  const socket = await secured(url, fingerprint, signal);
  const asking = request({
    ...{ method, host: url.hostname, port: url.port, path: `${url.pathname}${url.search}` },
    ...{ headers: { ...headers, host: url.host, connection: "close" } },
    ...(signal === undefined ? {} : { signal }),
    createConnection: () => socket,
  });
  return new Promise((answered, failed) => {
    asking.once("error", failed);
    asking.once("response", (response) => {
      const type = response.headers["content-type"] ?? "application/json";
      const stream = Readable.toWeb(response) as ConstructorParameters<typeof Response>[0];
      answered(new Response(stream, { status: response.statusCode ?? 500, headers: { "content-type": type } }));
    });
    if (body === undefined || typeof body === "string") asking.end(body);
    else pipeline(Readable.fromWeb(body), asking).catch(failed);
  });
}

function secured(url: URL, fingerprint: string, signal: AbortSignal | undefined): Promise<TLSSocket> {
  return new Promise((ready, failed) => {
    // Whoever vouches for it, and whatever name it is for: it is known by its fingerprint.
    const socket = connect({
      host: url.hostname.replace(/^\[|\]$/g, ""),
      port: Number(url.port || 443),
      rejectUnauthorized: false,
    });
    const abort = () => socket.destroy(signal?.reason as Error);
    signal?.addEventListener("abort", abort);
    socket.once("error", failed);
    socket.once("close", () => signal?.removeEventListener("abort", abort));
    socket.once("secureConnect", () => {
      const shown = fingerprintOf(socket.getPeerCertificate().fingerprint256 ?? "");
      if (shown === fingerprint) return ready(socket);
      socket.destroy();
      failed(new Error("it shows another certificate than the one that KEEPERS names"));
    });
    if (signal?.aborted) abort();
  });
}

/** As it is written in KEEPERS: without colons, in small letters. */
const fingerprintOf = (text: string): string => text.replaceAll(":", "").toLowerCase();
