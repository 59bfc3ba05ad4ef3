import type { Command } from "commander";
import type { DatabaseView, LeaseView, StartView } from "../../contract/database.ts";
import { inSession, serverCommand } from "../command.ts";
import { databaseId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { sheet } from "../sheet.ts";
import { paintStatus } from "../status.ts";
import { oneLine } from "../terminal.ts";
import { leaseLines, startLines } from "./inspect.ts";

type Explanation = Pick<DatabaseView, "state" | "reason" | "message" | "allowedActions"> & {
  awake_because: LeaseView[];
  asleep_because: string | null;
  asleep_since: string | null;
  stays_awake_because: string | null;
  idle_stop_at: string | null;
  last_start: StartView | null;
  waiting_for: { for: string; message: string; until: string | null }[];
  hosts: { name: string; status: string; message: string }[];
  undelivered: { about: string; attempts: number; last_error: string | null }[];
};

export function databaseExplainCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "explain <database>", "say why a database is awake or asleep, and what is being waited for", [
    "lamplighter database explain shop",
  ]).action(inSession(around, explain));
}

async function explain(session: Session, _options: SessionOptions, reference: string): Promise<void> {
  const { text } = await session.api.get(`/databases/${await databaseId(session.api, reference)}/explain`);
  session.show(text, (answer: Explanation) => describe(answer, session));
}

function describe(answer: Explanation, { terminal: { color, width } }: Session): string {
  const { state, reason, message, hosts, waiting_for, undelivered, last_start } = answer;
  return sheet(color, width, [
    ["State", `${paintStatus(state, state, color)}  ${color.dim(oneLine(reason))}`],
    ["", oneLine(message)],
    ["Awake because", answer.awake_because.flatMap(leaseLines)],
    ["Asleep because", oneLine(answer.asleep_because ?? "")],
    ["Asleep since", answer.asleep_since ?? ""],
    ["Stays awake", oneLine(answer.stays_awake_because ?? "")],
    ["Stops at", answer.idle_stop_at ?? ""],
    ["Last start", last_start === null ? "" : startLines(last_start)],
    ["Waits for", waiting_for.map((wait) => oneLine(`${wait.for}${wait.message === "" ? "" : ` (${wait.message})`}`))],
    [
      "Hosts",
      hosts
        .filter(({ status }) => status !== "ready")
        .map((host) => oneLine(`${host.name} is ${host.status}: ${host.message}`)),
    ],
    [
      "Not delivered",
      undelivered
        .filter(({ attempts }) => attempts > 0)
        .map(({ about, attempts, last_error }) => oneLine(`${about}, tried ${attempts} times: ${last_error ?? ""}`)),
    ],
  ]);
}
