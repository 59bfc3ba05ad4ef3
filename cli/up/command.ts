import { resolve } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import { collect, withExamples } from "../command.ts";
import type { Surroundings } from "../session.ts";
import { GATEWAY_PORT } from "./databases.ts";
import type { UpOptions } from "./up.ts";

export function upCommand(program: Command, around: Surroundings): void {
  withExamples(
    program.command("up").description("run a control plane and an agent on this machine, with the state on disk"),
    ["lamplighter up", "lamplighter up --port 9000 --data /var/lib/lamplighter", "lamplighter up --runtime process"],
  )
    .option("--port <port>", "where the API listens", port, 8787)
    .option("--host <address>", "the address to listen on", "127.0.0.1")
    .option("--data <folder>", "where everything is kept", ".lamplighter")
    .option("--token <token>", "the root token; otherwise the one of the last time, or a new one")
    .option(
      "--runtime <list>",
      "process,docker,podman,postgres; otherwise process, postgres and the engines that answer now",
    )
    .option("--allow-private-webhooks", "let webhooks go to this machine and its networks, by http too")
    .option(
      "--gateway-port <port>",
      `where databases are connected to; otherwise ${GATEWAY_PORT}, or another when that is taken`,
      port,
    )
    .option(
      "--postgres-bin <folder>",
      "PostgreSQL's programs for new databases; otherwise the newest that is found",
      collect,
    )
    .option("--postgres-image <image>", "run databases in containers of this image; otherwise as processes")
    .option("--no-databases", "run no keeper and no gateway")
    .option("--no-agent", "run the control plane only; agents join from elsewhere")
    .action(async (options: UpOptions) => {
      const { up } = await import("./up.ts");
      await up({ ...options, data: resolve(options.data) }, around);
    });
}

function port(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0 || value > 65535)
    throw new InvalidArgumentError("expected a port from 0 to 65535");
  return value;
}
