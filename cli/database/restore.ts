import type { Command } from "commander";
import type { DatabaseView } from "../../contract/database.ts";
import { parseDuration } from "../../contract/quantity.ts";
import { inSession, serverCommand } from "../command.ts";
import { Failure } from "../failure.ts";
import { databaseId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { showDsnOnce } from "./create.ts";

type Options = SessionOptions & { time?: string; lsn?: string; as: string };

export function databaseRestoreCommand(group: Command, around: Surroundings): void {
  serverCommand(
    group,
    "restore <database>",
    "make a new database as this one was at a moment; this one stays as it is",
    [
      "lamplighter database restore shop --as shop_before --time 2026-11-20T18:00:00Z",
      "lamplighter database restore prod/shop --as shop_copy --time 10m",
    ],
  )
    .requiredOption("--as <name>", "how the new database is called")
    .option("--time <when>", "a time (2026-11-20T18:00:00Z) or how long ago (10m); otherwise now")
    .option("--lsn <position>", "a log position, such as 16/B374D848, in place of a time")
    .action(inSession(around, restore));
}

async function restore(session: Session, { time, lsn, as }: Options, reference: string): Promise<void> {
  const id = await databaseId(session.api, reference);
  const body = {
    name: as,
    ...(time === undefined ? {} : { time: moment(time, session.around.now()) }),
    ...(lsn === undefined ? {} : { lsn }),
  };
  const { text } = await session.api.post(`/databases/${id}/restore`, {
    body,
    headers: { prefer: "wait=25" },
    timeoutMs: 60_000,
  });
  const { state, message } = JSON.parse(text) as DatabaseView;
  if (state === "error")
    throw new Failure(`${as} was made, but cannot be restored: ${message}`, {
      hint: `\`lamplighter database delete ${as}\` takes it away again.`,
    });
  showDsnOnce(
    session,
    text,
    (made: DatabaseView) => `Database ${made.namespace}/${made.name} (${made.id}) is ${made.state}: ${made.message}.`,
  );
}

function moment(text: string, now: number): string {
  const ms = parseDuration(text);
  if (ms !== null) return new Date(now - ms).toISOString();
  if (Number.isNaN(Date.parse(text)))
    throw new Failure(`--time '${text}': expected a time such as 2026-11-20T18:00:00Z, or how long ago, such as 10m`);
  return new Date(text).toISOString();
}
