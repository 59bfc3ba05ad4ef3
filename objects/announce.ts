import type { Entry, JournalEvent } from "../contract/event.ts";
import {
  isTold,
  type WebhookEvent,
  type WebhookFamily,
  type WebhookFilter,
  type WebhookSource,
  wants,
  webhookEventOf,
} from "../contract/webhook.ts";
import { after, cursor } from "./journal.ts";
import { post } from "./outbox.ts";
import { CLUSTER_SHARD } from "./projection.ts";
import { remote } from "./remote.ts";

/**
 * The journal's way to webhooks. The letter `announce` is posted in the commit that writes what is to be told; its delivery hands everything
 * after the cursor to the endpoints that want it, and then moves the cursor. Endpoints know an event by its journal id, so that whatever is
 * handed over twice is one event.
 */
const AT_ONCE = 200;

type Endpoint = WebhookFilter & { id: string };

/** Asks for an announcement when webhooks are told of one of these. Call it inside `commit`, after the entries were appended. */
export function postAnnouncement(sql: SqlStorage, family: WebhookFamily, entries: readonly Entry[], now: number): void {
  if (entries.some((entry) => isTold(family, entry))) post(sql, "announce", now);
}

/** Delivers the letter `announce`. Throws when an endpoint could not be told; it is then tried again, and those that were told know it. */
export async function announce(
  sql: SqlStorage,
  env: { INDEX: DurableObjectNamespace<EndpointList>; WEBHOOK: DurableObjectNamespace<EventQueue> },
  source: WebhookSource,
): Promise<void> {
  for (;;) {
    const rows = after(sql, announced(sql), AT_ONCE);
    const last = rows.at(-1);
    if (last === undefined) return;
    const events = rows.flatMap(({ body }) => webhookEventOf(JSON.parse(body) as JournalEvent, source) ?? []);
    if (events.length > 0) await handOver(env, events);
    // Another delivery of the same letter may have come further meanwhile.
    sql.exec("UPDATE announced SET seq = max(seq, ?)", last.seq);
  }
}

/** Whether nothing is left to announce: only then may the journal be dropped. */
export const isAnnounced = (sql: SqlStorage): boolean => cursor(sql) <= announced(sql);

const announced = (sql: SqlStorage): number => sql.exec<{ seq: number }>("SELECT seq FROM announced").one().seq;

/** The endpoints are asked for after the events were committed: one that was answered as made before is among them. */
async function handOver(
  env: { INDEX: DurableObjectNamespace<EndpointList>; WEBHOOK: DurableObjectNamespace<EventQueue> },
  events: readonly WebhookEvent[],
): Promise<void> {
  const endpoints = await remote(env.INDEX, CLUSTER_SHARD).endpoints();
  const outcomes = await Promise.allSettled(
    endpoints.map(async (body) => {
      const endpoint = JSON.parse(body) as Endpoint;
      // What becomes of an endpoint itself is for the others.
      const wanted = events.filter((event) => event.resource !== endpoint.id && wants(endpoint, event));
      if (wanted.length > 0) await remote(env.WEBHOOK, endpoint.id).enqueue(wanted);
    }),
  );
  const failed = outcomes.find((outcome) => outcome.status === "rejected");
  if (failed) throw failed.reason;
}

/** The parts of IndexObject and WebhookObject that an announcement needs. */
export type EndpointList = Rpc.DurableObjectBranded & { endpoints(): string[] };
export type EventQueue = Rpc.DurableObjectBranded & { enqueue(events: WebhookEvent[]): Promise<void> };
