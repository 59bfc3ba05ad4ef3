import { type ChildProcess, spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { createServer, type IncomingMessage, type RequestListener, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { onTestFinished } from "vitest";
import type { InstanceRoute } from "../../agent/instance-proxy/message.ts";
import { InstanceProxy } from "../../agent/instance-proxy/proxy.ts";
import { Routes } from "../../agent/instance-proxy/routes.ts";
import { Targets } from "../../agent/instance-proxy/target.ts";

/** The proxy of a host's instances, in the test's own process, and HTTP servers in the place of engines. */

export const ID = "inst_00000000000000000000000000";
export const SECRET = "the secret of its keys";
export const keyOf = (id: string, secret = SECRET): string =>
  `Bearer rxk_${id}.${createHmac("sha256", secret).update(id).digest("base64url")}`;

const PAUSED = { code: "paused", detail: "paused", retry_after_s: 60, soon: false } as const;
export const LOADING = { code: "loading", detail: "it loads", retry_after_s: 2, soon: false } as const;

export async function startProxy(options: { wakeMs?: number; soonMs?: number } = {}) {
  const targets = new Targets();
  const routes = new Routes((named) => targets.keep(named));
  const said: { id: string; waits: boolean }[] = [];
  const proxy = new InstanceProxy({ routes, targets, asked: (id, waits) => said.push({ id, waits }), ...options });
  const port = await listening(proxy.http);
  onTestFinished(() => {
    proxy.http.closeAllConnections();
    proxy.http.close();
  });
  const route = (over: Partial<InstanceRoute>): void =>
    routes.replace([
      {
        ...{ instance_id: ID, key_secret: SECRET, keys: [{ id: "web", expires_at: null }] },
        ...{ target: null, loading: null, closed: PAUSED, wakes: false, tells: false },
        ...over,
      },
    ]);
  const url = `http://127.0.0.1:${port}/${ID}`;
  const ask = (over: RequestInit & { path?: string } = {}): Promise<Response> =>
    fetch(url + (over.path ?? "/query"), { method: "POST", body: "users { id }", ...over });
  return { targets, routes, route, said, proxy, port, url, ask };
}

async function listening(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

export async function engine(answer: RequestListener, generation = 1) {
  const server = createServer(answer);
  const port = await listening(server);
  const end = () => {
    server.closeAllConnections();
    server.close();
  };
  onTestFinished(end);
  return { server, end, target: { workload_id: `${ID}-2`, generation, port } };
}

export async function textOf(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of request) text += String(chunk);
  return text;
}

export const withKey = { headers: { authorization: keyOf("web") } };
export const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Everything that a server answers to these bytes until it closes the connection. */
export function raw(port: number, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1");
    let text = "";
    socket.on("data", (chunk) => {
      text += String(chunk);
    });
    socket.on("error", reject);
    socket.on("close", () => resolve(text));
    socket.write(bytes);
  });
}

/** An engine in a process of its own that takes queries and does not answer them. */
export async function program(rest: string): Promise<{
  child: ChildProcess;
  target: { workload_id: string; port: number };
  count: () => Promise<number>;
}> {
  const source = `let n = 0; const s = require("node:http").createServer((q, r) => q.url === "/count" ? r.end(String(n)) : n++);
    s.listen(0, "127.0.0.1", () => console.log(s.address().port)); ${rest}`;
  const child = spawn(process.execPath, ["-e", source], { stdio: ["ignore", "pipe", "inherit"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  const port = await new Promise<number>((resolve) => child.stdout?.once("data", (text) => resolve(Number(text))));
  const count = async () => Number(await (await fetch(`http://127.0.0.1:${port}/count`)).text());
  return { child, target: { workload_id: `${ID}-2`, port }, count };
}
