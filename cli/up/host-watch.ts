import type { JournalEvent } from "../../contract/event.ts";
import type { HostView } from "../../contract/host.ts";
import type { Api } from "../api.ts";
import { Failure } from "../failure.ts";
import { news } from "../journal.ts";
import { follow } from "../stream.ts";

/** Says what becomes of a host, one line a change of its status. Ends with the signal, or when the host is gone. */
export async function watchHost(
  api: Api,
  host: HostView,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const stream = follow(api, `/hosts/${host.id}/events`, {
    resume: (last) => ({ lastEventId: last?.id ?? String(host.event_cursor) }),
    endless: true,
    signal,
  });
  try {
    for await (const { data } of stream) {
      const event = JSON.parse(data) as JournalEvent;
      const moved = event.new_status !== undefined && event.new_status !== event.old_status;
      if (moved || event.level !== "info")
        say(`host ${host.name}: ${event.new_status ?? event.reason}, ${news(event)}`);
    }
  } catch (error) {
    if (!signal.aborted && error instanceof Failure) say(`host ${host.name} is not watched any more: ${error.message}`);
  }
}
