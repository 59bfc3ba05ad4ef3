import type { Command } from "commander";
import pg from "pg";
import type { DatabaseView } from "../../contract/database.ts";
import { inSession, serverCommand } from "../command.ts";
import { EXIT, Failure } from "../failure.ts";
import { readPassword } from "../password.ts";
import { databaseId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { table } from "../table.ts";
import { oneLine } from "../terminal.ts";
import { GATEWAY_OPTION, type GatewayAddress, gatewayAddress } from "./gateway-address.ts";

type Options = SessionOptions & { gateway?: string };
type Row = unknown[];

/** A start may take a while: a large database is restored first. */
const CONNECTED_WITHIN_MS = 60_000;
const WRONG_PASSWORD = "28P01";

export function databaseQueryCommand(group: Command, around: Surroundings): void {
  serverCommand(
    group,
    "query <database> [statements]",
    "ask a database where there is no psql, which wakes it; without statements they are read from standard input",
    [
      "PGPASSWORD=… lamplighter database query shop 'SELECT * FROM orders LIMIT 5'",
      "lamplighter database query shop -o json < report.sql",
    ],
  )
    .option(...GATEWAY_OPTION)
    .action(inSession(around, query));
}

async function query(session: Session, options: Options, reference: string, given?: string): Promise<void> {
  const { around } = session;
  const id = await databaseId(session.api, reference);
  const { name: database, role: user } = JSON.parse((await session.api.get(`/databases/${id}`)).text) as DatabaseView;
  const gateway = await gatewayAddress(session, options.gateway);
  const password = around.env.PGPASSWORD ?? (await askedFor(around));
  const statements = given ?? (await around.readStdin());
  const client = new pg.Client({
    ...{ ...gateway, user, password, database, ssl: encryption(gateway, around.env.PGSSLMODE) },
    ...{ application_name: "lamplighter", connectionTimeoutMillis: CONNECTED_WITHIN_MS },
  });
  // What becomes of it is said by the statement.
  client.on("error", () => {});
  // Also while a statement runs: that is given up with its connection.
  around.interrupt.signal.addEventListener("abort", () => void client.end().catch(() => {}), { once: true });
  try {
    await client.connect();
    const asked = { text: statements, rowMode: "array" as const };
    const answer = (await client.query(asked)) as pg.QueryArrayResult<Row> | pg.QueryArrayResult<Row>[];
    const results = Array.isArray(answer) ? answer : [answer];
    session.show(JSON.stringify(results.flatMap(objectsOf)), () =>
      results.map((result) => textOf(result, session)).join("\n"),
    );
  } catch (error) {
    throw failure(error as Partial<pg.DatabaseError> & Error, gateway);
  } finally {
    await client.end().catch(() => {});
  }
}

async function askedFor(around: Surroundings): Promise<string> {
  if (around.prompt === null)
    throw new Failure("there is no password", {
      exit: EXIT.auth,
      hint: "Set $PGPASSWORD; `database credentials rotate` makes another one.",
    });
  return readPassword(around, {});
}

/** What does not leave this machine need not be encrypted; who a gateway elsewhere is, is checked when that is asked for. */
function encryption({ host }: GatewayAddress, mode = ""): boolean | { rejectUnauthorized: boolean } {
  if (mode === "disable" || (mode === "" && ["127.0.0.1", "::1", "localhost"].includes(host))) return false;
  return { rejectUnauthorized: mode.startsWith("verify") };
}

/** Columns may have the same name: the second `id` is `id_2`. */
export function objectsOf({ fields, rows }: Pick<pg.QueryArrayResult<Row>, "fields" | "rows">): object[] {
  const taken = new Set<string>();
  const names = fields.map(({ name }) => {
    let free = name;
    for (let n = 2; taken.has(free); n++) free = `${name}_${n}`;
    taken.add(free);
    return free;
  });
  return rows.map((row) => Object.fromEntries(names.map((name, i) => [name, row[i]])));
}

function textOf({ fields, rows, command, rowCount }: pg.QueryArrayResult<Row>, { terminal }: Session): string {
  if (fields.length === 0) return `${[command, rowCount].filter((part) => part !== null).join(" ")}\n`;
  const columns = fields.map(({ name }, i) => ({ title: name, value: (row: Row) => cell(row[i]), shrink: 8 }));
  return `${table(columns, rows, terminal.width, terminal.color)}${rows.length} ${rows.length === 1 ? "row" : "rows"}\n`;
}

function cell(value: unknown): string {
  if (value === null || value === undefined) return "–";
  if (value instanceof Date) return value.toISOString();
  return oneLine(typeof value === "object" ? JSON.stringify(value) : String(value));
}

function failure({ code, message, detail, hint }: Partial<pg.DatabaseError> & Error, gateway: GatewayAddress): Failure {
  const said = [detail, hint].filter((part) => part !== undefined && part !== "").map((part) => oneLine(String(part)));
  if (code !== undefined && /^[0-9A-Z]{5}$/.test(code))
    return new Failure(`${code}: ${oneLine(message)}`, {
      exit: code === WRONG_PASSWORD ? EXIT.auth : EXIT.other,
      details: said,
    });
  return new Failure(
    `cannot reach the gateway at ${gateway.host}:${gateway.port}: ${oneLine(message || String(code))}`,
    {
      exit: EXIT.unreachable,
    },
  );
}
