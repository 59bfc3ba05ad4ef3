import { existsSync, readFileSync } from "node:fs";
import { availableParallelism, hostname, loadavg, machine, platform, release, totalmem, uptime } from "node:os";
import type { Node } from "../contract/node.ts";

const GIB = 1024 ** 3;
const OS_RELEASE = "/etc/os-release";

/** This machine at this moment. */
export function ownMachine(): Node {
  return {
    hostname: hostname(),
    os: osName(existsSync(OS_RELEASE) ? readFileSync(OS_RELEASE, "utf8") : ""),
    arch: machine(),
    uptime: `${Math.floor(uptime())}s`,
    cpu_count: availableParallelism(),
    memory_total: gib(totalmem()),
    memory_available: gib(process.availableMemory()),
    load_average: loadavg().map((load) => Math.round(load * 100) / 100),
  };
}

/** The name that a Linux gives itself, else that of the kernel. */
export function osName(osRelease: string): string {
  const pretty = /^PRETTY_NAME="?([^"\n]+)"?$/m.exec(osRelease)?.[1];
  return pretty ?? `${platform() === "darwin" ? "macOS (Darwin)" : platform()} ${release()}`;
}

const gib = (bytes: number): number => Math.round((bytes / GIB) * 100) / 100;
