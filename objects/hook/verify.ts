import { Webhook } from "standardwebhooks";
import type { HookSource } from "../../contract/hook.ts";
import { sameHash, sha256Hex } from "../token/secret.ts";

/** What of a call's headers is looked at. */
export const HOOK_HEADERS = [
  "authorization",
  "x-hub-signature-256",
  "x-github-event",
  "x-github-delivery",
  "x-gitlab-token",
  "x-gitlab-event",
  "x-gitlab-event-uuid",
  "x-gitea-signature",
  "x-gitea-event",
  "x-gitea-delivery",
  "x-forgejo-signature",
  "x-forgejo-event",
  "x-forgejo-delivery",
  "webhook-id",
  "webhook-timestamp",
  "webhook-signature",
] as const;
export type HookHeaders = Partial<Record<(typeof HOOK_HEADERS)[number], string>>;

/** One call. `given`: the secret from the address, for callers that can send no header. */
export type HookCall = { headers: HookHeaders; body: string; given: string | null };

/** Whether a call comes from whoever has the secret, by its source's own way of saying so. In a time that tells nothing of the secret. */
export async function isVerified(
  source: HookSource,
  secret: string,
  { headers, body, given }: HookCall,
): Promise<boolean> {
  switch (source) {
    case "github":
      return isSigned(secret, body, headers["x-hub-signature-256"]?.replace(/^sha256=/, ""));
    case "gitea":
      return isSigned(secret, body, headers["x-gitea-signature"] ?? headers["x-forgejo-signature"]);
    case "gitlab":
      return isSame(secret, headers["x-gitlab-token"]);
    case "registry":
      return isSame(secret, headers.authorization?.replace(/^Bearer +/i, "") ?? given ?? undefined);
    case "generic":
      return isStandard(secret, body, headers);
  }
}

/** The others show the secret itself, or sign the id and the time as well: with them a body may honestly come twice. */
export const signsBodyOnly = (source: HookSource): boolean => source === "github" || source === "gitea";

const encoder = new TextEncoder();

async function isSigned(secret: string, body: string, hex: string | undefined): Promise<boolean> {
  if (hex === undefined || !/^[0-9a-f]{64}$/i.test(hex)) return false;
  const how = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", encoder.encode(secret), how, false, ["verify"]);
  const signature = Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
  return crypto.subtle.verify("HMAC", key, signature, encoder.encode(body));
}

/** Their hashes are compared: how much of it is right does not show in how long it takes. */
async function isSame(secret: string, given: string | undefined): Promise<boolean> {
  return given !== undefined && sameHash(await sha256Hex(secret), await sha256Hex(given));
}

function isStandard(secret: string, body: string, headers: HookHeaders): boolean {
  try {
    const webhook = secret.startsWith("whsec_") ? new Webhook(secret) : new Webhook(secret, { format: "raw" });
    webhook.verify(body, headers as Record<string, string>, { jsonParse: false });
    return true;
  } catch {
    return false;
  }
}

/** The caller's own id of a delivery, or null. */
export const deliveryIdOf = (headers: HookHeaders): string | null => {
  const id =
    headers["x-github-delivery"] ??
    headers["x-gitlab-event-uuid"] ??
    headers["x-gitea-delivery"] ??
    headers["x-forgejo-delivery"] ??
    headers["webhook-id"];
  return id !== undefined && /^[\x21-\x7e]{1,100}$/.test(id) ? id : null;
};

/** The forge's word for what happened. */
export const eventOf = (headers: HookHeaders): string | null =>
  headers["x-github-event"] ??
  headers["x-gitlab-event"] ??
  headers["x-gitea-event"] ??
  headers["x-forgejo-event"] ??
  null;
