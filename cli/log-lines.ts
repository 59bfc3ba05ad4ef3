import type { LogLine } from "../contract/workload.ts";
import type { Query } from "./api.ts";
import type { Session } from "./session.ts";
import { follow } from "./stream.ts";

/** Log lines as they are written, until what writes them is over. After a cut it goes on where it was. */
export async function* followLines(
  session: Session,
  path: string,
  { first, always = {} }: { first: Query; always?: Query },
): AsyncGenerator<LogLine> {
  // Log lines have no number: after a cut the last second is asked for again, and what was shown of it is left out.
  let latest = "";
  let shownAtLatest = new Set<string>();
  const stream = follow(session.api, path, {
    query: { ...always, follow: true },
    resume: () => ({ query: latest === "" ? first : { since: latest } }),
    endless: false,
    signal: session.interrupted,
  });
  for await (const { event, data } of stream) {
    if (event === "end") return;
    const line = JSON.parse(data) as LogLine;
    if (line.timestamp < latest || (line.timestamp === latest && shownAtLatest.has(data))) continue;
    if (line.timestamp > latest) {
      latest = line.timestamp;
      shownAtLatest = new Set();
    }
    shownAtLatest.add(data);
    yield line;
  }
}
