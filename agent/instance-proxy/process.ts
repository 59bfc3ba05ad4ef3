import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, openSync, readdirSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { join, relative } from "node:path";
import { createInterface } from "node:readline";
import { compiledModules } from "../compiled-modules.ts";
import { accountFor } from "../process/account.ts";
import { FromProxy, type InstanceRoute, type ToProxy } from "./message.ts";

const CODE = import.meta.dirname;
const STARTED_WITHIN_MS = 10_000;
const LOOK_MS = 20;
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 5_000;
/** What callers of a proxy of another version have under way is answered within this, ms. */
const RETIRED_WITHIN_MS = 30_000;
/** A proxy without routes is kept for so long, ms. */
const ENDED_AFTER_MS = 5_000;
/** And for so long when its agent ends. */
const LAST_WORD_MS = 1_000;
/** Longer than a drain. */
const DONE_WITHIN_MS = 20_000;

export type ProxyProcessOptions = {
  /** Its own: the socket, and what it complains about. */
  folder: string;
  port: number;
  asked: (instanceId: string, waits: boolean) => void;
  log: (line: string) => void;
};

/** The proxy of this host, beside the agent. It is there while there are routes; one that dies is started again, and told all of them. */
export class ProxyProcess {
  readonly #options: ProxyProcessOptions;
  /** In it is which code runs there: an agent that comes with other code starts a proxy of its own, and then ends the former. */
  readonly #path: string;
  readonly #waiting = new Map<number, () => void>();
  #routes: readonly InstanceRoute[] = [];
  #socket: Socket | null = null;
  #connecting: Promise<Socket> | null = null;
  #seq = 0;
  #retry: NodeJS.Timeout | null = null;
  #ending: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(options: ProxyProcessOptions) {
    this.#options = options;
    mkdirSync(options.folder, { recursive: true, mode: 0o700 });
    this.#path = join(options.folder, `${codeHash()}.sock`);
  }

  /** These are all routes from now on; resolves when the proxy goes by them. */
  async set(routes: readonly InstanceRoute[]): Promise<void> {
    this.#routes = routes;
    if (this.#ending) clearTimeout(this.#ending);
    if (routes.length === 0) {
      // The last one may only be about to change, which is to go and to come.
      if (this.#socket === null) return this.#endAll();
      this.#ending = setTimeout(() => void this.#endAll(), ENDED_AFTER_MS);
      this.#ending.unref();
    } else await this.#connected();
    await this.#tell({ kind: "routes", routes: [...this.#routes] });
  }

  /** Resolves when nothing more goes to an engine, and what it had was answered, or when the time is over. */
  async drain(of: { workload_id: string; generation: number }, within_ms: number): Promise<void> {
    if (this.#socket === null) return;
    await this.#tell({ kind: "drain", ...of, within_ms });
  }

  /** The proxy goes on, if there is anything for it to do. */
  close(): void {
    this.#closed = true;
    if (this.#retry) clearTimeout(this.#retry);
    if (this.#routes.length > 0) this.#socket?.destroy();
    else {
      // Its route may just be about to change: whoever is on the line is answered.
      send(this.#socket, { kind: "end", within_ms: LAST_WORD_MS });
      this.#socket?.end();
    }
    this.#settleAll();
  }

  #tell(message: Untold): Promise<void> {
    const seq = ++this.#seq;
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#waiting.delete(seq);
        resolve();
      };
      const timer = setTimeout(done, DONE_WITHIN_MS);
      this.#waiting.set(seq, done);
      send(this.#socket, { ...message, seq });
    });
  }

  #connected(): Promise<Socket> {
    if (this.#socket) return Promise.resolve(this.#socket);
    this.#connecting ??= this.#connect().finally(() => {
      this.#connecting = null;
    });
    return this.#connecting;
  }

  async #connect(): Promise<Socket> {
    const socket = (await greeted(this.#path)) ?? (await this.#start());
    this.#socket = socket;
    socket.on("close", () => this.#lost(socket));
    const lines = createInterface({ input: socket });
    // It is the socket's, which closes then.
    lines.on("error", () => undefined);
    lines.on("line", (line) => this.#hear(FromProxy.parse(JSON.parse(line))));
    // One that was here before this agent, or has died since, goes by these before anything is said of it.
    await this.#tell({ kind: "routes", routes: [...this.#routes] });
    void this.#endOthers();
    return socket;
  }

  async #start(): Promise<Socket> {
    const { folder, port, log } = this.#options;
    const user = await accountFor({ id: null, group: null, privileged: false });
    const account = "fault" in user ? null : user.account;
    const out = openSync(join(folder, "proxy.log"), "a", 0o600);
    const child = spawn(
      process.execPath,
      [
        ...["--no-warnings", join(CODE, "main.ts"), "--control", this.#path, "--port", String(port)],
        ...(account === null ? [] : ["--user", `${account.uid}:${account.gid}`]),
      ],
      {
        detached: true,
        stdio: ["ignore", out, out],
        cwd: folder,
        env: { PATH: process.env.PATH, ...compiledModules() },
      },
    );
    child.once("error", (error) => log(`proxy: it cannot be started: ${error.message}`));
    child.unref();
    const end = performance.now() + STARTED_WITHIN_MS;
    while (performance.now() < end && !this.#closed) {
      const socket = await greeted(this.#path);
      if (socket) return socket;
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    throw new Error(`the proxy did not start within ${STARTED_WITHIN_MS / 1000} s: see ${join(folder, "proxy.log")}`);
  }

  #hear(message: FromProxy): void {
    if (message.kind === "done") this.#waiting.get(message.seq)?.();
    if (message.kind === "asked") this.#options.asked(message.instance_id, message.waits);
  }

  #lost(socket: Socket): void {
    if (this.#socket !== socket) return;
    this.#socket = null;
    this.#settleAll();
    if (this.#closed || this.#routes.length === 0) return;
    this.#options.log("proxy: it has ended, and is started again");
    this.#startAgain(FIRST_PAUSE_MS);
  }

  #startAgain(pauseMs: number): void {
    if (this.#retry) clearTimeout(this.#retry);
    this.#retry = setTimeout(() => {
      if (this.#closed || this.#routes.length === 0) return;
      this.#connected().catch((error: Error) => {
        this.#options.log(`proxy: ${error.message}`);
        this.#startAgain(Math.min(pauseMs * 2, LONGEST_PAUSE_MS));
      });
    }, pauseMs);
  }

  async #endAll(): Promise<void> {
    const socket = this.#socket ?? (await greeted(this.#path));
    this.#socket = null;
    this.#settleAll();
    if (this.#routes.length > 0) return;
    send(socket, { kind: "end", within_ms: 0 });
    await this.#endOthers();
  }

  /** Those of other code. */
  async #endOthers(): Promise<void> {
    const { folder } = this.#options;
    for (const name of readdirSync(folder)) {
      const path = join(folder, name);
      if (!name.endsWith(".sock") || path === this.#path) continue;
      const socket = await greeted(path);
      send(socket, { kind: "end", within_ms: RETIRED_WITHIN_MS });
      if (socket === null) await rm(path, { force: true });
    }
  }

  #settleAll(): void {
    for (const done of [...this.#waiting.values()]) done();
  }
}

type Untold = ToProxy extends infer M ? (M extends { seq: number } ? Omit<M, "seq"> : never) : never;

const send = (socket: Socket | null, message: ToProxy): void => {
  if (socket?.writable) socket.write(`${JSON.stringify(message)}\n`);
};

/** A connection to a proxy that works; null when none does. The path of a socket must be short. */
function greeted(path: string): Promise<Socket | null> {
  const near = relative(process.cwd(), path);
  return new Promise((resolve) => {
    const socket = connect(near.length < path.length ? near : path);
    socket.on("error", () => resolve(null));
    socket.once("close", () => resolve(null));
    socket.once("data", (first) => {
      if (!first.includes('"hello"')) return;
      socket.pause();
      resolve(socket);
    });
  });
}

/** Of all that the proxy is made of here. */
function codeHash(): string {
  const hash = createHash("sha256");
  for (const name of readdirSync(CODE).sort()) hash.update(readFileSync(join(CODE, name)));
  return hash.digest("hex").slice(0, 12);
}
