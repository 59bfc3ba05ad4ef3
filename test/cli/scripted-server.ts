import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";

export type Seen = { method: string; url: string; headers: IncomingMessage["headers"]; body: string };
export type Handler = (seen: Seen, response: ServerResponse) => void | Promise<void>;

/** An HTTP server that answers as a test says: for what a real control plane does not do when asked (cut connections, pages, old errors). */
export async function scriptedServer(handler: Handler): Promise<{ url: string; seen: Seen[]; close: () => void }> {
  const seen: Seen[] = [];
  const server = createServer(async (request, response) => {
    const one = {
      method: request.method ?? "",
      url: request.url ?? "",
      headers: request.headers,
      body: await text(request),
    };
    seen.push(one);
    await handler(one, response);
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen, close };
}

export const json = (
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void => {
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(typeof body === "string" ? body : JSON.stringify(body));
};

export const problem = (
  response: ServerResponse,
  status: number,
  code: string,
  title: string,
  detail = title,
  more: object = {},
): void => json(response, status, { type: `/problems/${code}`, title, status, code, detail, violations: [], ...more });
