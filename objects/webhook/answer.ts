import { allowedActions } from "../../contract/action.ts";
import { accept, type Reply, refuse } from "../../contract/problem.ts";
import type { Answer } from "../../contract/request.ts";
import { WEBHOOK_ACTION_TABLE, type WebhookAction, type WebhookView } from "../../contract/webhook-endpoint.ts";
import { open } from "../sealing.ts";
import { type WebhookRecord, webhookView } from "./record.ts";

/** The endpoint as it is answered; `sealed` is its secret, for `withSecret`. */
export function answerOf(
  sql: SqlStorage,
  id: string,
  record: WebhookRecord,
  status: 200 | 201,
  sealed?: string,
): Reply<Answer> {
  const view = webhookView(sql, id, record, Date.now());
  const body = JSON.stringify(sealed === undefined ? view : { ...view, sealed });
  return accept({ status, body, revision: record.revision });
}

/** The one answer with the secret in clear. What is kept for the same request sent again has it sealed. */
export async function withSecret(env: object, id: string, reply: Reply<Answer>): Promise<Reply<Answer>> {
  if (!reply.ok) return reply;
  const { sealed, ...view } = JSON.parse(reply.value.body) as WebhookView & { sealed: string };
  const secret = await open(env, sealed, id);
  if (!secret.ok) return secret;
  const message = "Keep the secret: it is not shown again.";
  return accept({ ...reply.value, body: JSON.stringify({ ...view, secret: secret.value, message }) });
}

/** The endpoint, when the action is possible in its status, or has nothing left to do. */
export function allowed(seen: Reply<WebhookRecord>, action: WebhookAction): Reply<WebhookRecord> {
  if (!seen.ok) return seen;
  const { status } = seen.value.state;
  const row: { from: readonly string[]; already: readonly string[] } = WEBHOOK_ACTION_TABLE[action];
  if (row.from.includes(status) || row.already.includes(status)) return seen;
  return refuse("action_not_allowed", `The webhook is ${status}.`, {
    more: { resource_status: status, allowedActions: allowedActions(WEBHOOK_ACTION_TABLE, status) },
  });
}
