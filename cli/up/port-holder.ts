import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { EXIT, Failure } from "../failure.ts";
import { commandOf } from "./process-table.ts";

const ENDING_MS = 1_000;

/** Fails when the port cannot be listened on, saying who has it as far as that can be known. `flag` chooses another. */
export async function requireFreePort(host: string, port: number, flag: string): Promise<void> {
  let { code, pid } = await tryPort(host, port);
  // In use, but nobody listens there any more: a program that is just ending, or a connection that got this number from the system.
  for (let waited = 0; waited < ENDING_MS && code === "EADDRINUSE" && pid === null; waited += 100) {
    await sleep(100);
    ({ code, pid } = await tryPort(host, port));
  }
  if (code === null) return;
  if (code === "EACCES")
    throw new Failure(`port ${port} needs more rights than this user has`, {
      hint: `Choose one above 1023 with ${flag}.`,
    });
  if (code === "EADDRNOTAVAIL")
    throw new Failure(`${host} is not an address of this machine`, { hint: "Look at --host." });
  if (code !== "EADDRINUSE") throw new Failure(`cannot listen on ${host}:${port}: ${code}`);
  const command = pid === null ? null : commandOf(pid);
  const who =
    pid === null ? "another program" : `process ${pid}${command === null ? "" : ` (${command.slice(0, 120)})`}`;
  throw new Failure(`port ${port} is in use by ${who}`, {
    exit: EXIT.conflict,
    hint: `Stop that, or choose another port with ${flag}.`,
  });
}

async function tryPort(host: string, port: number): Promise<{ code: string | null; pid: number | null }> {
  const code = await tryListen(host, port);
  return { code, pid: code === "EADDRINUSE" ? holderOf(port) : null };
}

function tryListen(host: string, port: number): Promise<string | null> {
  return new Promise((done) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => done(error.code ?? "EUNKNOWN"));
    server.listen({ host, port, exclusive: true }, () => server.close(() => done(null)));
  });
}

export function holderOf(port: number): number | null {
  try {
    return process.platform === "linux" ? holderInProc(port) : holderByLsof(port);
  } catch {
    return null;
  }
}

function holderInProc(port: number): number | null {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  const inodes = ["/proc/net/tcp", "/proc/net/tcp6"].flatMap((table) =>
    readFileSync(table, "utf8")
      .split("\n")
      .slice(1)
      .map((line) => line.trim().split(/\s+/))
      .filter((field) => field[1]?.endsWith(`:${hex}`) && field[3] === "0A")
      .map((field) => `socket:[${field[9]}]`),
  );
  for (const pid of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry))) {
    try {
      const files = readdirSync(`/proc/${pid}/fd`);
      if (files.some((fd) => inodes.includes(readlinkSync(`/proc/${pid}/fd/${fd}`)))) return Number(pid);
    } catch {
      // Another user's process, or one that has just ended.
    }
  }
  return null;
}

function holderByLsof(port: number): number | null {
  const text = execFileSync("lsof", ["-nP", `-iTCP:${port}`, "-sTCP:LISTEN", "-Fp"], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  return Number(/^p(\d+)/m.exec(text)?.[1]) || null;
}
