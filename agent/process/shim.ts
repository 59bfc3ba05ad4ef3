/**
 * Stands beside one program for as long as it runs, and outlives the agent: starts it, keeps what it writes, and keeps how it ended. Is told the
 * instance's folder on its standard input, so that it can be started before there is an instance; an end instead means that it is not needed.
 * It is copied out of the source without its types and started from there, so it imports nothing of ours; what it
 * shares with the agent are the files of `folder.ts`.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { createDecipheriv } from "node:crypto";
import * as fs from "node:fs";
import { Socket } from "node:net";
import { dirname } from "node:path";
import type { Intent, StoredIntent } from "./folder.ts";

const LINE_MOST = 16 * 1024;
/** A process that left the group may hold the output open: how long the last lines are waited for, ms. */
const DRAIN_MS = 250;
const NEWLINE = 10;

for (const name of ["SIGHUP", "SIGINT", "SIGTERM", "SIGPIPE"] as const) process.on(name, () => {});

type Pipe = { reader: Socket; writer: number };

/**
 * Pipes for what the program writes, opened before there is a program. Not Node's own: those are sockets, and a program cannot open
 * `/dev/stdout` when that is a socket. Their names are gone before anybody could open them.
 */
function makePipes(): { out: Pipe; err: Pipe } {
  const dir = fs.mkdtempSync(`${dirname(process.argv[1] as string)}/pipes-`);
  const open = (path: string): Pipe => {
    const fd = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
    return {
      reader: new Socket({ fd, readable: true, writable: false }),
      writer: fs.openSync(path, fs.constants.O_WRONLY),
    };
  };
  try {
    const paths = [`${dir}/out`, `${dir}/err`] as const;
    const made = spawnSync("mkfifo", ["-m", "600", ...paths]);
    if (made.status !== 0) throw new Error(`mkfifo: ${made.error?.message ?? made.stderr}`);
    return { out: open(paths[0]), err: open(paths[1]) };
  } finally {
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

function readFolder(): string {
  const chunk = Buffer.alloc(4096);
  let text = "";
  while (!text.endsWith("\n")) {
    const size = fs.readSync(0, chunk);
    if (size === 0) process.exit(0);
    text += chunk.toString("utf8", 0, size);
  }
  return text.slice(0, -1);
}

/** The environment is sealed in the file; `state-key.ts` says how. */
function readIntent(): Intent {
  const { env, key_path, ...rest } = JSON.parse(fs.readFileSync(`${folder}/intent.json`, "utf8")) as StoredIntent;
  if (typeof env !== "string") return { ...rest, env };
  const bytes = Buffer.from(env.slice(env.indexOf(":") + 1), "base64");
  const decipher = createDecipheriv("aes-256-gcm", fs.readFileSync(key_path as string), bytes.subarray(0, 12));
  decipher.setAuthTag(bytes.subarray(-16));
  const text = Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()]).toString("utf8");
  return { ...rest, env: JSON.parse(text) as Intent["env"] };
}

const { out, err } = makePipes();
const folder = readFolder();
fs.closeSync(0);
// What is opened next must not become a standard stream.
fs.openSync("/dev/null", "r");
const intent = readIntent();
process.title = `lamplighter-shim ${intent.mark}`;

function startOf(pid: number): string {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
    const start = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
    return `${start}@${fs.readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()}`;
  } catch {
    return spawnSync("ps", ["-o", "lstart=", "-p", String(pid)], { encoding: "utf8" }).stdout.trim();
  }
}

/** Writes a file that is there whole or not at all; `durable` when it must outlive a power cut. */
function put(name: string, content: unknown, durable: boolean): void {
  const path = `${folder}/${name}`;
  const fd = fs.openSync(`${path}.new`, "w", 0o600);
  fs.writeSync(fd, JSON.stringify(content));
  if (durable) fs.fsyncSync(fd);
  fs.closeSync(fd);
  fs.renameSync(`${path}.new`, path);
  if (!durable) return;
  const dir = fs.openSync(folder, "r");
  fs.fsyncSync(dir);
  fs.closeSync(dir);
}

/** Only one shim ever has the folder: the claim is made whole under another name, and a link to a name that is taken fails. */
function claim(): boolean {
  const draft = `${folder}/shim.${process.pid}`;
  try {
    fs.writeFileSync(draft, JSON.stringify({ pid: process.pid, start: startOf(process.pid) }), { mode: 0o600 });
    fs.linkSync(draft, `${folder}/shim.json`);
    return true;
  } catch {
    return false;
  } finally {
    fs.rmSync(draft, { force: true });
  }
}

/** Numbered files; the highest is written to, the oldest is deleted. Each line: when it came, which stream, the text. */
class Log {
  #fd = -1;
  #number = 0;
  #size = 0;

  write(lines: Buffer[]): void {
    const data = Buffer.concat(lines);
    try {
      if (this.#fd < 0 || this.#size + data.length > intent.log.file_bytes) this.#next();
      for (let done = 0; done < data.length; ) done += fs.writeSync(this.#fd, data, done);
      this.#size += data.length;
    } catch {
      // The disk is full: the program goes on, its lines are lost.
    }
  }

  #next(): void {
    if (this.#fd >= 0) fs.closeSync(this.#fd);
    this.#fd = -1;
    this.#number++;
    this.#fd = fs.openSync(this.#path(this.#number), "a", 0o600);
    this.#size = fs.fstatSync(this.#fd).size;
    if (this.#number > intent.log.files) fs.rmSync(this.#path(this.#number - intent.log.files), { force: true });
  }

  #path(number: number): string {
    return `${intent.log.folder}/${String(number).padStart(8, "0")}.log`;
  }
}

const log = new Log();

/** Cuts what comes out of a pipe into lines. */
function pump(stream: Socket, letter: "o" | "e"): Promise<void> {
  let rest: Buffer = Buffer.alloc(0);
  const lines = (data: Buffer, all: boolean): Buffer[] => {
    const out: Buffer[] = [];
    const head = Buffer.from(`${Date.now()} ${letter} `);
    let from = 0;
    while (from < data.length) {
      const newline = data.indexOf(NEWLINE, from);
      const end = newline < 0 ? data.length : newline;
      const tooLong = end - from > LINE_MOST;
      if (newline < 0 && !tooLong && !all) break;
      const to = tooLong ? from + LINE_MOST : end;
      out.push(head, data.subarray(from, to), Buffer.of(NEWLINE));
      from = tooLong ? to : end + 1;
    }
    rest = data.subarray(Math.min(from, data.length));
    return out;
  };
  stream.on("data", (chunk: Buffer) => {
    const out = lines(rest.length === 0 ? chunk : Buffer.concat([rest, chunk]), false);
    if (out.length > 0) log.write(out);
    // A small rest would hold on to the whole chunk.
    rest = Buffer.from(rest);
  });
  return new Promise((resolve) => {
    stream.on("close", () => {
      const out = lines(rest, true);
      if (out.length > 0) log.write(out);
      resolve();
    });
    stream.on("error", () => stream.destroy());
  });
}

function enter(procs: string): string | null {
  try {
    fs.writeFileSync(procs, String(process.pid));
    return null;
  } catch (error) {
    return `${procs}: ${(error as Error).message}`;
  }
}

/** How many processes of the instance the kernel has killed for want of memory. */
function oomKills(): number {
  let kills = 0;
  for (const path of intent.cgroup.oom_files) {
    try {
      kills += Number(/^oom_kill (\d+)$/m.exec(fs.readFileSync(path, "utf8"))?.[1] ?? 0);
    } catch {
      // The cgroup was taken away by somebody else.
    }
  }
  return kills;
}

function killRest(child: ChildProcess): void {
  try {
    process.kill(-(child.pid as number), "SIGKILL");
  } catch {
    // The group is empty.
  }
  for (const procs of intent.cgroup.procs) {
    try {
      for (const pid of fs.readFileSync(procs, "utf8").split("\n").filter(Boolean))
        process.kill(Number(pid), "SIGKILL");
    } catch {
      // It ended by itself, or the cgroup is gone.
    }
  }
}

/** Timers of Node's cannot be set further ahead than this, ms. */
const TIMER_MOST = 2 ** 31 - 1;

function after(ms: number, then: () => void): void {
  setTimeout(() => (ms > TIMER_MOST ? after(ms - TIMER_MOST, then) : then()), Math.min(ms, TIMER_MOST));
}

/** Ends the program when it has run for as long as it may: here, so that it holds while there is no agent too. Tells when that begins. */
function limit(child: ChildProcess, over: () => void): void {
  if (intent.run_timeout_ms === null || child.pid === undefined) return;
  const group = -child.pid;
  after(intent.run_timeout_ms, () => {
    over();
    try {
      if (intent.stop_timeout_ms > 0) process.kill(group, "SIGTERM");
    } catch {
      // The group is empty.
    }
    after(intent.stop_timeout_ms, () => killRest(child));
  });
}

function main(): void {
  // The open pipes would keep it alive.
  if (!claim()) process.exit(0);
  // So that the program's user can open it again, as /dev/stdout.
  if (intent.uid !== null)
    for (const { writer } of [out, err]) fs.fchownSync(writer, intent.uid, intent.gid ?? intent.uid);
  const drained = Promise.all([pump(out.reader, "o"), pump(err.reader, "e")]);

  // The program is born in its cgroup because its parent is there at that moment; there is no later moment without a gap.
  const entered = intent.cgroup.procs.map(enter).filter((fault) => fault !== null);
  const child = spawn(intent.program, intent.arguments, {
    argv0: intent.argv0,
    cwd: intent.cwd,
    env: intent.env,
    detached: true,
    stdio: ["ignore", out.writer, err.writer],
    ...(intent.uid === null ? {} : { uid: intent.uid }),
    ...(intent.gid === null ? {} : { gid: intent.gid }),
  });
  const startedAt = Date.now();
  fs.closeSync(out.writer);
  fs.closeSync(err.writer);
  if (child.pid !== undefined) {
    put(
      "child.json",
      { pid: child.pid, start: startOf(child.pid), started_at: startedAt, cgroup_faults: entered },
      false,
    );
  }
  intent.cgroup.home.map(enter);
  let timedOut = false;
  limit(child, () => {
    timedOut = true;
  });

  child.on("error", (error: NodeJS.ErrnoException) => {
    if (child.pid !== undefined) return;
    put("exit.json", { failed: { code: error.code ?? "UNKNOWN", message: error.message }, at: Date.now() }, true);
    process.exit(0);
  });
  child.on("exit", (code, signal) => {
    const at = Date.now();
    const isOver = timedOut;
    const oom = !isOver && oomKills() > 0 && (signal === "SIGKILL" || code === 137);
    killRest(child);
    const end = (): never => {
      put(
        "exit.json",
        { exit: { code, signal, oom, at, evidence: "kept", ...(isOver ? { timed_out: true } : {}) } },
        true,
      );
      process.exit(0);
    };
    void drained.then(end);
    setTimeout(end, DRAIN_MS);
  });
}

main();
