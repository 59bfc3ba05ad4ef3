import type { Command } from "commander";
import { parseDuration } from "../../contract/quantity.ts";
import { inSession, serverCommand } from "../command.ts";
import { Failure } from "../failure.ts";
import { webhookId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

type Options = SessionOptions & { failed?: boolean; since?: string; until?: string };

export function redeliverCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "redeliver <webhook> [event...]", "deliver events again, under the ids that they had", [
    "lamplighter webhook redeliver https://ci.example.com/lamps dep_01k…:7",
    "lamplighter webhook redeliver https://ci.example.com/lamps --failed",
    "lamplighter webhook redeliver https://ci.example.com/lamps --since 2h",
  ])
    .option("--failed", "all that were given up")
    .option("--since <when>", "all that came since: a duration (2h) or a time (2026-11-21T00:00:00Z)")
    .option("--until <when>", "with --since: and before this")
    .action(inSession(around, redeliver));
}

async function redeliver(session: Session, options: Options, reference: string, events: string[]): Promise<void> {
  const asked = which(options, events, session.around.now());
  const path = `/webhooks/${await webhookId(session.api, reference)}/redeliver`;
  let redelivered = 0;
  for (const body of asked)
    redelivered += (JSON.parse((await session.api.post(path, { body })).text) as { redelivered: number }).redelivered;
  session.show(
    JSON.stringify({ redelivered }),
    () => `${redelivered} ${redelivered === 1 ? "event is" : "events are"} sent again\n`,
  );
}

function which({ failed, since, until }: Options, events: string[], now: number): object[] {
  const ways = [events.length > 0, failed === true, since !== undefined].filter(Boolean).length;
  if (ways !== 1 || (until !== undefined && since === undefined))
    throw new Failure("say which events: their ids, or --failed, or --since with or without --until");
  if (since === undefined) return failed ? [{ failed: true }] : events.map((event_id) => ({ event_id }));
  return [
    { since: time("--since", since, now), ...(until === undefined ? {} : { until: time("--until", until, now) }) },
  ];
}

function time(flag: string, text: string, now: number): string {
  const ms = parseDuration(text);
  const at = ms === null ? Date.parse(text) : now - ms;
  if (Number.isNaN(at))
    throw new Failure(`${flag} '${text}': expected a duration such as 2h, or a time such as 2026-11-21T00:00:00Z`);
  return new Date(at).toISOString();
}
