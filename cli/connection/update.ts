import type { Command } from "commander";
import type { ConnectionView } from "../../contract/connection.ts";
import { SYNC_MODES } from "../../contract/source-kind.ts";
import { collect, inSession, positive, serverCommand } from "../command.ts";
import { Failure } from "../failure.ts";
import { connectionId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { type Limits, limitsOf } from "./limits.ts";
import { givenPassword, type PasswordOptions, passwordOptions } from "./source-password.ts";

type Options = SessionOptions &
  PasswordOptions & { host?: string; port?: number; user?: string; schema?: string[]; tls?: string } & Limits;

export function connectionUpdateCommand(group: Command, around: Surroundings): void {
  passwordOptions(
    serverCommand(group, "update <connection>", "change a connection; the next provision, rebuild or resume uses it", [
      "pass mysql/shop | lamplighter connection update shop-mysql --password-stdin",
    ]),
  )
    .option("--host <host>", "another address")
    .option("--port <port>", "another port", positive)
    .option("-u, --user <user>", "another user")
    .option("--schema <schema>", "the schemas that instances may read, all of them (repeat for several)", collect)
    .option("--tls <mode>", "disable, require, verify-ca or verify-full")
    .option(
      "--allowed-sync-mode <mode>",
      `how instances may keep up with it (repeat for several): ${SYNC_MODES.join(", ")}`,
      collect,
    )
    .option("--min-sync-interval <seconds>", "no instance takes a shorter one", positive)
    .action(inSession(around, update));
}

async function update(session: Session, options: Options, reference: string): Promise<void> {
  const { host, port, user, schema: schemas, tls } = options;
  const password = (await givenPassword(options, session)) ?? undefined;
  const body = { host, port, user, schemas, tls, password, ...limitsOf(options) };
  if (Object.values(body).every((value) => value === undefined)) throw new Failure("nothing is to be changed");
  const { text } = await session.api.patch(`/connections/${await connectionId(session.api, reference)}`, { body });
  session.show(text, ({ name }: ConnectionView) => `connection ${name} updated\n`);
}
