import { execFile, type SpawnOptions } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Account } from "../process/account.ts";
import { asUser } from "./account.ts";
import { type Installation, installationOf } from "./binaries.ts";

const run = promisify(execFile);

export type Surroundings = {
  account: Account;
  /** What of the host's files it works with. */
  folders: readonly string[];
  limits?: { cpu_millis: number; memory_bytes: number } | undefined;
};

export type Program = { file: string; args: string[]; options: Pick<SpawnOptions, "uid" | "gid" | "cwd" | "env"> };

/** Nothing about the host changes what a database does. */
const PLAIN = { LANG: "C", TZ: "UTC", PGTZ: "UTC" };

/**
 * How one of PostgreSQL's programs is started. From an image it gets the image's files and limits of its own, and for the rest is a process of this
 * host: the same process ids, network and shared memory, and the data folder at the same path. So nothing else here has to know.
 */
export function programOf(
  { folder, image }: Installation,
  name: string,
  args: readonly string[],
  { account, folders, limits }: Surroundings,
): Program {
  if (image === undefined)
    return {
      file: join(folder, name),
      args: [...args],
      options: { ...asUser(account), cwd: "/", env: { PATH: process.env.PATH, ...PLAIN } },
    };
  const user = account ?? { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  const container = [
    ...["run", "--rm", "--log-driver=none", "--pid=host", "--network=host", "--ipc=host", "--workdir=/"],
    ...["--user", `${user.uid}:${user.gid}`, "--volume", "/etc/passwd:/etc/passwd:ro"],
    ...folders.flatMap((each) => ["--volume", `${each}:${each}`]),
    ...(limits ? [`--cpus=${limits.cpu_millis / 1000}`, `--memory=${limits.memory_bytes}`] : []),
    ...Object.entries(PLAIN).flatMap(([variable, value]) => ["--env", `${variable}=${value}`]),
    ...["--entrypoint", name, image],
  ];
  // Which engine, and as whom, is said in the agent's own variables; none of them gets into the container.
  return { file: "docker", args: [...container, ...args], options: { cwd: "/", env: process.env } };
}

/** The PostgreSQL of an image that the engine has; null when it does not run. Linux only: elsewhere an engine's processes are another machine's. */
export async function imageInstallation(image: string): Promise<Installation | null> {
  if (process.platform !== "linux") return null;
  const found: Installation = { folder: "", major: 0, version: "", image };
  const { file, args, options } = programOf(found, "postgres", ["--version"], { account: null, folders: [] });
  const said = await run(file, args, { ...options, timeout: 60_000 }).catch(() => null);
  const installation = said && installationOf("", said.stdout);
  return installation && { ...installation, image };
}
