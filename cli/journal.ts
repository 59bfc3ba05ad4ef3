import type { Command } from "commander";
import type { JournalEvent } from "../contract/event.ts";
import { LEVELS } from "../contract/event.ts";
import { inSession, positive, serverCommand } from "./command.ts";
import { Failure } from "./failure.ts";
import type { Session, SessionOptions, Surroundings } from "./session.ts";
import { paintLevel } from "./status.ts";
import { follow } from "./stream.ts";
import { table } from "./table.ts";
import { oneLine } from "./terminal.ts";

export type JournalOptions = { level?: string; limit?: number; follow?: boolean };

/** What has a journal: its noun, an example of its name, the collection that it is in, and how its id is found. */
export type Journalled = {
  noun: string;
  example: string;
  collection: string;
  id: (api: Session["api"], reference: string) => Promise<string>;
};

/** `events <noun>`, for any resource that has a journal. */
export function journalCommand(
  group: Command,
  around: Surroundings,
  { noun, example, collection, id }: Journalled,
): void {
  const name = `lamplighter ${noun} events ${example}`;
  serverCommand(
    group,
    `events <${noun}>`,
    `show what happened to ${/^[aeiou]/.test(noun) ? "an" : "a"} ${noun}, the newest last`,
    [name, `${name} -f`, `${name} --level error -o json`],
  )
    .option("-l, --level <level>", "only info, warning or error")
    .option("--limit <n>", "at most this many", positive, 50)
    .option("-f, --follow", "go on with each new event")
    .action(
      inSession(around, async (session: Session, options: SessionOptions & JournalOptions, reference: string) =>
        showJournal(session, `/${collection}/${await id(session.api, reference)}/events`, options),
      ),
    );
}

/** Shows a resource's events, the newest last, and with `follow` goes on with each new one. */
export async function showJournal(
  session: Session,
  path: string,
  { level, limit = 50, follow: goOn }: JournalOptions,
): Promise<void> {
  if (level !== undefined && !(LEVELS as readonly string[]).includes(level)) {
    throw new Failure(`unknown level '${level}': expected ${LEVELS.join(", ")}`);
  }
  const { text } = await session.api.get(path, { query: { level, limit } });
  if (goOn !== true) {
    session.show(text, (events: JournalEvent[]) => journalTable(session, events));
    return;
  }
  const events = (JSON.parse(text) as JournalEvent[]).reverse();
  for (const event of events) session.terminal.out(eventLine(session, event));
  for await (const event of journal(session, path, events.at(-1)?.seq ?? 0, session.interrupted)) {
    if (level === undefined || event.level === level) session.terminal.out(eventLine(session, event));
  }
}

/** Every event after `seq`, as they happen. */
export async function* journal(
  session: Session,
  path: string,
  seq: number,
  signal: AbortSignal,
): AsyncGenerator<JournalEvent> {
  const stream = follow(session.api, path, {
    resume: (last) => ({ lastEventId: last?.id ?? String(seq) }),
    endless: true,
    signal,
  });
  for await (const { data } of stream) yield JSON.parse(data) as JournalEvent;
}

function journalTable({ terminal }: Session, events: JournalEvent[]): string {
  if (events.length === 0) return "No events.\n";
  return table<JournalEvent>(
    [
      { title: "time", value: (e) => clock(e.timestamp) },
      { title: "level", value: (e) => e.level, weight: 3, paint: (text, e, color) => paintLevel(text, e.level, color) },
      { title: "component", value: (e) => e.component, weight: 1 },
      { title: "reason", value: (e) => e.reason, weight: 2, shrink: 12 },
      { title: "message", value: (e) => oneLine(e.message), shrink: 30 },
    ],
    [...events].reverse(),
    terminal.width,
    terminal.color,
  );
}

function eventLine({ terminal, format }: Session, event: JournalEvent): string {
  if (format !== "table") return `${JSON.stringify(event)}\n`;
  const { color } = terminal;
  return `${color.dim(clock(event.timestamp))}  ${paintLevel(event.level.padEnd(7), event.level, color)}  ${event.reason}  ${oneLine(event.message)}\n`;
}

/** The event's message without the statuses, where those are shown beside it. */
export const news = (event: JournalEvent): string =>
  oneLine(event.message).replace(/^Status changed from \w+ to \w+: /, "");

/** `2026-11-21 09:30:12`, in the user's own zone. */
export function clock(timestamp: string): string {
  const date = new Date(timestamp);
  const two = (value: number) => String(value).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}
