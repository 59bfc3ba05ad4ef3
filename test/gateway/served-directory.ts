// A MemoryDirectory as gateways reach a control plane: lookups over HTTP, and a WebSocket per lease.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import { type WebSocket, WebSocketServer } from "ws";
import { GatewayFrame, LookupQuestion } from "../../contract/gateway.ts";
import type { MemoryDirectory } from "./memory-directory.ts";

const LEASE = /^\/gateway\/databases\/([^/]+)\/lease\?boot_id=([^&]+)$/;

export type ServedDirectory = { url: string; token: string; cut(): void; close(): Promise<void> };

export async function serveDirectory(directory: MemoryDirectory): Promise<ServedDirectory> {
  const token = "lamp_gateway_test";
  const authorization = `Bearer ${token}`;
  const server = createServer(async (request, response) => {
    const status = request.headers.authorization !== authorization ? 401 : directory.away ? 503 : 200;
    const found = request.method === "POST" && request.url === "/gateway/lookups";
    const question = LookupQuestion.safeParse(await json(request).catch(() => null));
    response.writeHead(found ? (question.success ? status : 422) : 404, { "content-type": "application/json" });
    response.end(
      JSON.stringify(status === 200 && question.success ? await directory.lookup(question.data) : { status }),
    );
  });
  const sockets = new WebSocketServer({ noServer: true });
  server.on("upgrade", (request, socket, head) => {
    const [, id = "", boot = ""] = LEASE.exec(request.url ?? "") ?? [];
    if (request.headers.authorization !== authorization || id === "" || directory.away) {
      socket.end(`HTTP/1.1 ${directory.away ? 503 : 401} No\r\nConnection: close\r\n\r\n`);
      return;
    }
    sockets.handleUpgrade(request, socket, head, (line) => converse(line, decodeURIComponent(id), boot));
  });
  const converse = (line: WebSocket, id: string, boot: string): void => {
    const held = directory.converse(boot, id, {
      heard: (frame) => line.send(JSON.stringify(frame)),
      up: () => {},
    });
    line.on("message", (data) => held.send(GatewayFrame.parse(JSON.parse(data.toString()))));
    line.on("close", () => held.close());
    line.on("error", () => {});
  };
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const cut = () => {
    for (const line of sockets.clients) line.terminate();
  };
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    token,
    cut,
    close: async () => {
      cut();
      server.closeAllConnections();
      await new Promise<void>((done) => server.close(() => done()));
    },
  };
}
