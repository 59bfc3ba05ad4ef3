import { spawn } from "node:child_process";
import type { Command } from "commander";
import type { DatabaseView } from "../../contract/database.ts";
import { inSession, serverCommand } from "../command.ts";
import { ExecEnded } from "../deployment/exec.ts";
import { Failure } from "../failure.ts";
import { databaseId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

type Options = SessionOptions & { gateway?: string };

export function databaseConnectCommand(group: Command, around: Surroundings): void {
  serverCommand(
    group,
    "connect <database> [arguments...]",
    "open psql on a database, which wakes it; psql asks for the password, or takes it from $PGPASSWORD",
    [
      "lamplighter database connect shop",
      "PGPASSWORD=… lamplighter database connect prod/shop -- -c 'SELECT now()'",
      "lamplighter database connect shop --gateway db.example.com:5432",
    ],
  )
    .option("--gateway <host:port>", "the gateway's address; otherwise the one that the control plane names")
    .action(inSession(around, connect));
}

async function connect(session: Session, options: Options, reference: string, rest: string[]): Promise<void> {
  const id = await databaseId(session.api, reference);
  const { name, role } = JSON.parse((await session.api.get(`/databases/${id}`)).text) as DatabaseView;
  const gateway = options.gateway ?? (await gatewayOf(session));
  if (gateway === null)
    throw new Failure("the control plane does not say where a gateway is", {
      hint: "Give --gateway host:port, or set GATEWAY_ADDRESS on the control plane.",
    });
  const { hostname, port } = new URL(`postgres://${gateway}`);
  const host = hostname.replace(/^\[|\]$/g, "");
  const psql = spawn("psql", ["-h", host, "-p", port || "5432", "-U", role, "-d", name, ...rest], {
    stdio: "inherit",
    env: { PGCONNECT_TIMEOUT: "60", ...session.around.env } as NodeJS.ProcessEnv,
  });
  const code = await new Promise<number | null>((done, fail) => {
    psql.once("error", (error: NodeJS.ErrnoException) =>
      fail(
        error.code === "ENOENT"
          ? new Failure("psql is not installed here", {
              hint: "Any PostgreSQL client does: `database inspect` shows the role.",
            })
          : error,
      ),
    );
    psql.once("close", done);
  });
  if (code !== 0) throw new ExecEnded(code);
}

async function gatewayOf(session: Session): Promise<string | null> {
  return (JSON.parse((await session.api.get("/gateway")).text) as { address: string | null }).address;
}
