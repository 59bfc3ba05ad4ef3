// The one address of a host's instances, as a process of its own: it outlives the agent, so that no query is lost when that is started anew.
// `main.ts --control SOCKET --port PORT [--user UID:GID]`, started by the agent in the folder of the socket.
import { flushCompileCache } from "node:module";
import { parseArgs } from "node:util";
import { Pool } from "undici";
import { Control } from "./control.ts";
import type { ToProxy } from "./message.ts";
import { InstanceProxy } from "./proxy.ts";
import { Routes } from "./routes.ts";
import { Targets } from "./target.ts";

const BIND_AGAIN_MS = 250;
/** One that nobody tells anything ends by itself if it has nothing to do, ms. */
const LONELY_MS = 10_000;

const { values } = parseArgs({
  options: { control: { type: "string" }, port: { type: "string" }, user: { type: "string" } },
});
const { control: path, port, user } = values;
if (path === undefined || port === undefined) throw new Error("usage: main.ts --control SOCKET --port PORT");
process.umask(0o077);

const targets = new Targets();
const routes = new Routes((named) => targets.keep(named));
const proxy = new InstanceProxy({
  routes,
  targets,
  asked: (instance_id, waits) => control.send({ kind: "asked", instance_id, waits }),
});
const control = new Control(obey, endIfLonely);

async function obey(message: ToProxy): Promise<void> {
  switch (message.kind) {
    case "routes":
      routes.replace(message.routes);
      return;
    case "drain":
      await targets.retire(message, message.within_ms);
      return;
    case "end":
      end(message.within_ms);
      return;
  }
}

/** Each connection is answered once more, as its caller may just be asking; those that stay idle are closed when the time is over. */
function end(withinMs: number): void {
  setTimeout(() => process.exit(0), withinMs).unref();
  control.close();
  proxy.end(() => process.exit(0));
}

function endIfLonely(): void {
  setTimeout(() => {
    if (routes.size === 0) end(0);
  }, LONELY_MS).unref();
}

/** The port is promised: one that another has is waited for. `reusePort`: while a proxy of another version gives up its place, both have it. */
async function listen(): Promise<void> {
  for (let said = false; ; ) {
    const error = await new Promise<NodeJS.ErrnoException | null>((resolve) => {
      proxy.http.once("error", resolve);
      proxy.http.listen({ port: Number(port), reusePort: process.platform === "linux" }, () => {
        proxy.http.off("error", resolve);
        resolve(null);
      });
    });
    if (error === null) return;
    if (!said) console.error(`${new Date().toISOString()} cannot listen on port ${port} yet: ${error.message}`);
    said = true;
    await new Promise((resolve) => setTimeout(resolve, BIND_AGAIN_MS));
  }
}

/** What the client loads when it is first used, it cannot be sure to read as another user. */
async function warmUp(): Promise<void> {
  const self = new Pool(`http://127.0.0.1:${port}`);
  await self
    .request({ path: "/", method: "GET" })
    .then(({ body }) => body.dump())
    .catch(() => undefined);
  await self.destroy();
}

process.on("SIGTERM", () => end(5_000));
await control.listen(path);
await listen();
if (user !== undefined) {
  await warmUp();
  // Nor can it write what the next one starts faster with.
  flushCompileCache();
  const [uid = 0, gid = 0] = user.split(":").map(Number);
  process.setgroups?.([]);
  process.setgid?.(gid);
  process.setuid?.(uid);
}
control.greet();
endIfLonely();
