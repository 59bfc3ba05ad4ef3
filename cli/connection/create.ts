import { type Command, Option } from "commander";
import type { ConnectionView } from "../../contract/connection.ts";
import { SOURCE_KINDS, SYNC_MODES, TLS_MODES } from "../../contract/source-kind.ts";
import { collect, inSession, positive, serverCommand } from "../command.ts";
import { fileText } from "../config/data.ts";
import { databaseId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { type Limits, limitsOf } from "./limits.ts";
import { givenPassword, type PasswordOptions, passwordOptions } from "./source-password.ts";

type Options = SessionOptions &
  PasswordOptions & {
    namespace: string;
    kind?: string;
    managed?: string;
    host?: string;
    port?: number;
    user?: string;
    schema: string[];
    database?: string;
    tls?: string;
    ca?: string;
  } & Limits;

export function connectionCreateCommand(group: Command, around: Surroundings): void {
  passwordOptions(
    serverCommand(group, "create <name>", "make a connection; its password is sealed, and never shown again", [
      "pass mysql/shop | lamplighter connection create shop-mysql --host mysql.internal --user lamplighter --schema shop --password-stdin",
      "lamplighter connection create crm --kind postgres --host pg.internal --user reader --schema public --password-env CRM_PASSWORD",
      "lamplighter connection create shop --managed shop --schema public",
    ]),
  )
    .addOption(new Option("-k, --kind <kind>", "mysql, which includes MariaDB, when left out").choices(SOURCE_KINDS))
    .option(
      "-m, --managed <database>",
      "one of our own databases, in place of an address: it is woken when it is needed",
    )
    .option("--host <host>", "where it answers, as hosts reach it")
    .option("--port <port>", "otherwise 3306 for mysql, 5432 for postgres", positive)
    .option("-u, --user <user>", "as whom to connect")
    .requiredOption("--schema <schema>", "a schema that instances may read (repeat for several)", collect)
    .option("--database <database>", "of PostgreSQL; otherwise postgres")
    .addOption(new Option("--tls <mode>", "otherwise require").choices(TLS_MODES))
    .option("--ca <path>", "certificates in PEM to check against")
    .option(
      "--allowed-sync-mode <mode>",
      `how instances may keep up with it (repeat for several): ${SYNC_MODES.join(", ")}; otherwise any of them`,
      collect,
    )
    .option("--min-sync-interval <seconds>", "no instance takes a shorter one", positive)
    .option("-n, --namespace <namespace>", "the namespace that it goes into", "default")
    .action(inSession(around, create));
}

async function create(session: Session, options: Options, name: string): Promise<void> {
  const { namespace, managed, host, port, user, database, schema: schemas, tls, ca } = options;
  const password = await givenPassword(options, session);
  const database_id = managed === undefined ? undefined : await databaseId(session.api, managed);
  const kind = options.kind ?? (managed === undefined ? "mysql" : undefined);
  const secret = password ?? (managed === undefined ? "" : undefined);
  const body = {
    name,
    namespace,
    kind,
    host,
    port,
    user,
    password: secret,
    database,
    schemas,
    tls,
    database_id,
    ...limitsOf(options),
  };
  const { text } = await session.api.post("/connections", {
    body: { ...body, ca: ca === undefined ? undefined : await fileText(ca) },
  });
  session.show(
    text,
    (view: ConnectionView) =>
      `connection ${view.namespace}/${view.name} made (${view.id}); \`lamplighter connection test ${view.name}\` tries it out\n`,
  );
}
