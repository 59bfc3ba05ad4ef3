// `lamplighter gateway` as its users run it: a process of its own.
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import type { ServedDirectory } from "./served-directory.ts";

const PROGRAM = join(import.meta.dirname, "../../cli/main.ts");

export type GatewayProcess = {
  port: number;
  metricsPort: number;
  child: ChildProcess;
  output(): string;
  exited: Promise<number | null>;
};

/** Resolves once it takes connections. @param folder where its certificate is; `--open-files N` limits those */
export async function startGateway(
  { url, token }: Pick<ServedDirectory, "url" | "token">,
  folder: string,
  ...more: string[]
): Promise<GatewayProcess> {
  const at = more.indexOf("--open-files");
  const [, files] = at < 0 ? [] : more.splice(at, 2);
  // `exec` keeps the process id.
  const limited = `${files === undefined ? "" : `ulimit -n ${files}; `}exec "$0" "$@"`;
  const given = [
    "--listen",
    "127.0.0.1:0",
    "--url",
    url,
    "--token",
    token,
    "--data",
    folder,
    "--metrics",
    "127.0.0.1:0",
  ];
  const child = spawn("/bin/sh", ["-c", limited, process.execPath, PROGRAM, "gateway", ...given, ...more], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH: process.env.PATH, XDG_CONFIG_HOME: folder },
  });
  let said = "";
  const exited = new Promise<number | null>((done) => child.once("exit", done));
  const ports = new Promise<[number, number]>((done) => {
    const hear = (chunk: Buffer) => {
      said += chunk;
      const match = /connections on port (\d+), metrics on port (\d+)/.exec(said);
      if (match !== null) done([Number(match[1]), Number(match[2])]);
    };
    child.stdout.on("data", hear);
    child.stderr.on("data", hear);
  });
  const started = await Promise.race([ports, exited]);
  if (!Array.isArray(started)) throw new Error(`the gateway ended: ${said}`);
  return { port: started[0], metricsPort: started[1], child, output: () => said, exited };
}
