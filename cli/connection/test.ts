import { type Command, Option } from "commander";
import type { ConnectionView, TestResult } from "../../contract/connection.ts";
import { SOURCE_KINDS, TLS_MODES } from "../../contract/source-kind.ts";
import { collect, inSession, positive, serverCommand } from "../command.ts";
import { fileText } from "../config/data.ts";
import { Failure } from "../failure.ts";
import { connectionId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { findings } from "./findings.ts";
import { givenPassword, type PasswordOptions, passwordOptions } from "./source-password.ts";

type Options = SessionOptions &
  PasswordOptions & {
    namespace?: string;
    kind?: string;
    host?: string;
    port?: number;
    user?: string;
    schema?: string[];
    database?: string;
    tls?: string;
    ca?: string;
  };

/** Longer than a test may take, ms. */
const TIMEOUT_MS = 45_000;

export function connectionTestCommand(group: Command, around: Surroundings): void {
  passwordOptions(
    serverCommand(group, "test [connection]", "try it out from a host, as an engine would connect", [
      "lamplighter connection test shop-mysql",
      "pass mysql/shop | lamplighter connection test --host mysql.internal --user lamplighter --schema shop --password-stdin",
    ]),
  )
    .option("--host <host>", "try out this address in place of a connection; nothing of it is kept")
    .addOption(new Option("-k, --kind <kind>", "mysql, which includes MariaDB, when left out").choices(SOURCE_KINDS))
    .option("--port <port>", "otherwise 3306 for mysql, 5432 for postgres", positive)
    .option("-u, --user <user>", "as whom to connect")
    .option(
      "--schema <schema>",
      "the schema to look into (repeat for several); otherwise only the server is tried",
      collect,
    )
    .option("--database <database>", "of PostgreSQL; otherwise postgres")
    .addOption(new Option("--tls <mode>", "otherwise require").choices(TLS_MODES))
    .option("--ca <path>", "certificates in PEM to check against")
    .option("-n, --namespace <namespace>", "the namespace that the test is of; otherwise default")
    .action(inSession(around, test));
}

async function test(session: Session, options: Options, reference?: string): Promise<void> {
  if (reference === undefined) return testUnsaved(session, options);
  const { host, kind, port, user, schema, database, tls, ca, namespace } = options;
  const said = [host, kind, port, user, schema, database, tls, ca, namespace, await givenPassword(options, session)];
  if (said.some((one) => one != null))
    throw new Failure(`${reference} has an address of its own`, {
      hint: "Give a connection, or --host with what belongs to it.",
    });
  const { text } = await session.api.post(`/connections/${await connectionId(session.api, reference)}/test`, {
    timeoutMs: TIMEOUT_MS,
  });
  session.show(text, ({ last_test }: ConnectionView) => (last_test === null ? "" : findings(last_test)));
  const { last_test } = JSON.parse(text) as ConnectionView;
  if (last_test === null) throw new Failure("the test is still under way");
  demandOk(reference, last_test);
}

/** Of an address that is nobody's connection, and need not become one. */
async function testUnsaved(session: Session, options: Options): Promise<void> {
  const { namespace, kind = "mysql", host, port, user, schema: schemas, database, tls, ca } = options;
  if (host === undefined || user === undefined)
    throw new Failure("nothing says what is to be tested", {
      hint: "Give a connection, or --host and --user with a password.",
    });
  const password = (await givenPassword(options, session)) ?? "";
  const certificates = ca === undefined ? undefined : await fileText(ca);
  const { text } = await session.api.post("/connections/test", {
    body: { namespace, kind, host, port, user, password, schemas, database, tls, ca: certificates },
    timeoutMs: TIMEOUT_MS,
  });
  session.show(text, findings);
  demandOk(host, JSON.parse(text) as TestResult);
}

function demandOk(what: string, { ok, error }: TestResult): void {
  if (ok) return;
  const { code = "other", message = "the source cannot be read" } = error ?? {};
  throw new Failure(`${what}: ${code}: ${message}`, {
    hint: isWithoutTls(code, message) ? "The server has no TLS: --tls disable connects in the clear." : undefined,
  });
}

/** The drivers' words. */
const isWithoutTls = (code: string, message: string): boolean =>
  code === "tls_failed" && /does not support (secure connection|SSL)/i.test(message);
