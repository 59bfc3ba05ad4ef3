import { randomInt } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Below what kernels give to connections (32768 and up) and to what listens on port 0, and beside what agents give to processes. */
const RANGE = { from: 11_000, to: 19_999 };
const claims = join(tmpdir(), "lamplighter-test-ports");

/**
 * A port that nothing listens on and that no other test of this run is given, so that a program can be started on it, killed, and
 * started on it again.
 */
export async function freePort(): Promise<number> {
  mkdirSync(claims, { recursive: true });
  for (;;) {
    const port = randomInt(RANGE.from, RANGE.to + 1);
    if (claim(port) && (await nobodyListens(port))) return port;
  }
}

function claim(port: number): boolean {
  const file = join(claims, String(port));
  try {
    writeFileSync(file, String(process.pid), { flag: "wx" });
    return true;
  } catch {
    if (!isAlive(Number(readFileSync(file, "utf8")))) rmSync(file, { force: true });
    return false;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

function nobodyListens(port: number): Promise<boolean> {
  return new Promise((done) => {
    const server = createServer();
    server.once("error", () => done(false));
    server.listen({ port, host: "0.0.0.0", exclusive: true }, () => server.close(() => done(true)));
  });
}
