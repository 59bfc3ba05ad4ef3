import type { Principal } from "../contract/scope.ts";
import { sameHash } from "../objects/token/secret.ts";
import { proofOf } from "./mint.ts";

/**
 * A ticket stands for a token where a token cannot go: in the address of an EventSource. It opens one stream of one deployment for half a
 * minute, and nothing else. It is not stored: it carries when it ends, and a proof over that and its scope.
 */
export const TICKET_KINDS = ["logs", "events"] as const;
export type TicketKind = (typeof TICKET_KINDS)[number];

export const TICKET_LIVES_S = 30;

/** 48 characters: the first 10 are the time at which it ends, base 32 of 48 bits and two to spare; the others the proof. */
const FORM = /^tk_stream_([0-9a-z]{10})([0-9a-z]{38})$/;
const RADIX = 32;
const TIME_CHARACTERS = 10;
const PROOF_CHARACTERS = 38;

const scopeOf = (kind: TicketKind, deploymentId: string): string => `deployment:${kind}:${deploymentId}`;

export async function makeTicket(env: Env, kind: TicketKind, deploymentId: string, now: number): Promise<string> {
  const ends = (now + TICKET_LIVES_S * 1000).toString(RADIX).padStart(TIME_CHARACTERS, "0");
  return `tk_stream_${ends}${await proof(env, kind, deploymentId, ends)}`;
}

/** Who comes with a ticket that is good for this stream: somebody who may read, and no more. Null without one. */
export async function ticketHolder(
  env: Env,
  request: Request,
  kind: TicketKind,
  deploymentId: string,
): Promise<Principal | null> {
  const [, ends, mark] = FORM.exec(new URL(request.url).searchParams.get("ticket") ?? "") ?? [];
  if (ends === undefined || mark === undefined || Number.parseInt(ends, RADIX) <= Date.now()) return null;
  if (!sameHash(await proof(env, kind, deploymentId, ends), mark)) return null;
  // Whoever asked for it was seen to be permitted this deployment's namespace.
  return { token_id: "ticket", name: "stream ticket", scopes: ["deployments:read"], namespaces: [] };
}

async function proof(env: Env, kind: TicketKind, deploymentId: string, ends: string): Promise<string> {
  const bytes = await proofOf(env, "stream ticket", `${scopeOf(kind, deploymentId)} ${ends}`);
  let number = 0n;
  for (const byte of bytes) number = (number << 8n) | BigInt(byte);
  return number
    .toString(RADIX)
    .padStart(PROOF_CHARACTERS + 1, "0")
    .slice(-PROOF_CHARACTERS);
}
