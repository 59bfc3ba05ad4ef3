import { spawn } from "node:child_process";
import type { Command } from "commander";
import type { DatabaseView } from "../../contract/database.ts";
import { inSession, serverCommand } from "../command.ts";
import { ExecEnded, Failure } from "../failure.ts";
import { databaseId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { GATEWAY_OPTION, gatewayAddress } from "./gateway-address.ts";

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
    .option(...GATEWAY_OPTION)
    .action(inSession(around, connect));
}

async function connect(session: Session, options: Options, reference: string, rest: string[]): Promise<void> {
  const id = await databaseId(session.api, reference);
  const { name, role } = JSON.parse((await session.api.get(`/databases/${id}`)).text) as DatabaseView;
  const { host, port } = await gatewayAddress(session, options.gateway);
  const psql = spawn("psql", ["-h", host, "-p", String(port), "-U", role, "-d", name, ...rest], {
    stdio: "inherit",
    env: { PGCONNECT_TIMEOUT: "60", ...session.around.env } as NodeJS.ProcessEnv,
  });
  const code = await new Promise<number | null>((done, fail) => {
    psql.once("error", (error: NodeJS.ErrnoException) =>
      fail(
        error.code === "ENOENT"
          ? new Failure("psql is not installed here", {
              hint: "`database query` asks without it, and any driver does: `database inspect` shows the role.",
            })
          : error,
      ),
    );
    psql.once("close", done);
  });
  if (code !== 0) throw new ExecEnded(code);
}
