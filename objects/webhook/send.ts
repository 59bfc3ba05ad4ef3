import { Webhook } from "standardwebhooks";
import { type Allowance, targetFault } from "./target.ts";

/** How long an endpoint may take, the reading of its answer's beginning included, ms. */
const TIMEOUT_MS = 10_000;
/** How much of an answer is kept, bytes. */
const ANSWER_KEPT = 1_024;
const VERSION = "0.1.0";

export type Attempted = {
  outcome: "delivered" | "failed";
  status: number | null;
  latency_ms: number;
  error: string | null;
  response: string;
  retry_after_ms: number | null;
};

export type Delivery = {
  url: string;
  id: string;
  type: string;
  body: string;
  /** The newest first: all of them sign. */
  secrets: readonly string[];
  ringHeaders: boolean;
};

/** How requests leave: what may be reached, what the names of hosts stand for, and the way out itself. */
export type Way = {
  allowance: Allowance;
  fetch: (url: string, init: RequestInit) => Promise<Response>;
  /** Why the name may not be sent to, by what it resolves to now; null when that is looked at on the way out. */
  resolved: ((hostname: string) => Promise<string | null>) | null;
};

/** One attempt. Never throws. */
export async function attempt(delivery: Delivery, way: Way, now: () => number): Promise<Attempted> {
  const from = now();
  const over = new AbortController();
  // A signal of its own, and not AbortSignal.timeout: that would keep the object awake for the whole time.
  const timer = setTimeout(() => over.abort(), TIMEOUT_MS);
  const failed = (error: string, status: number | null = null, rest: Partial<Attempted> = {}): Attempted => ({
    outcome: "failed",
    status,
    latency_ms: now() - from,
    error,
    response: "",
    retry_after_ms: null,
    ...rest,
  });
  try {
    const fault = targetFault(delivery.url, way.allowance);
    if (fault !== null) return failed(`not sent: ${fault}`);
    const unresolved = way.allowance === "public" && (await way.resolved?.(new URL(delivery.url).hostname));
    if (unresolved) return failed(`not sent: ${unresolved}`);
    const answer = await posted(way, delivery.url, {
      method: "POST",
      headers: await headersOf(delivery, from),
      body: delivery.body,
      redirect: "manual",
      signal: over.signal,
    });
    const latency_ms = now() - from;
    const response = await beginningOf(answer);
    const { status } = answer;
    if (status >= 200 && status < 300)
      return { outcome: "delivered", status, latency_ms, error: null, response, retry_after_ms: null };
    return failed(errorOf(answer), status, {
      latency_ms,
      response,
      retry_after_ms: status === 429 || status === 503 ? retryAfter(answer.headers.get("retry-after"), from) : null,
    });
  } catch (error) {
    return over.signal.aborted ? failed(`no answer within ${TIMEOUT_MS / 1000} s`) : failed(connectionError(error));
  } finally {
    clearTimeout(timer);
  }
}

/**
 * A connection is kept for what comes next, and the other side may close it just then: that says nothing of the endpoint, so that it is asked
 * once more on a new one. Should the first have come through all the same, its id is the same.
 */
async function posted(way: Way, url: string, init: RequestInit): Promise<Response> {
  try {
    return await way.fetch(url, init);
  } catch (error) {
    if (init.signal?.aborted || !/network connection lost/i.test(String(error))) throw error;
    return way.fetch(url, init);
  }
}

async function headersOf(delivery: Delivery, now: number): Promise<Record<string, string>> {
  const at = new Date(now);
  const { id, body, secrets } = delivery;
  const headers: Record<string, string> = {
    "content-type": "application/json",
    "user-agent": `lamplighter/${VERSION}`,
    "webhook-id": id,
    "webhook-timestamp": String(Math.floor(now / 1000)),
    "webhook-signature": secrets.map((secret) => signer(secret).sign(id, at, body)).join(" "),
  };
  const newest = secrets[0];
  if (delivery.ringHeaders && newest !== undefined) {
    headers["x-ring-event"] = delivery.type;
    headers["x-ring-signature"] = `sha256=${await hmacHex(newest, body)}`;
  }
  return headers;
}

/** `whsec_…` is base64 of the key; any other text is the key itself. */
export const signer = (secret: string): Webhook =>
  secret.startsWith("whsec_") ? new Webhook(secret) : new Webhook(secret, { format: "raw" });

const encoder = new TextEncoder();

async function hmacHex(secret: string, body: string): Promise<string> {
  const how = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", encoder.encode(secret), how, false, ["sign"]);
  const mac = new Uint8Array(await crypto.subtle.sign("HMAC", key, encoder.encode(body)));
  return Array.from(mac, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function errorOf({ status, headers }: Response): string {
  if (status < 300 || status >= 400) return `answered ${status}`;
  const to = headers.get("location");
  return `answered ${status}: redirects are not followed${to === null ? "" : `; it points to ${harmless(to.slice(0, 200))}`}`;
}

/** Seconds or a date; null when it is neither. */
export function retryAfter(text: string | null, now: number): number | null {
  if (text === null) return null;
  if (/^\d{1,9}$/.test(text.trim())) return Number(text) * 1000;
  const at = / GMT$/.test(text.trim()) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(at) ? null : Math.max(0, at - now);
}

async function beginningOf(answer: Response): Promise<string> {
  const reader = answer.body?.getReader();
  if (reader === undefined) return "";
  const decoder = new TextDecoder();
  let text = "";
  let left = ANSWER_KEPT;
  while (left > 0) {
    const { done, value } = await reader.read();
    if (done) return harmless(text + decoder.decode());
    const part = value.subarray(0, left);
    left -= part.byteLength;
    text += decoder.decode(part, { stream: true });
  }
  await reader.cancel().catch(() => undefined);
  return harmless(text);
}

/** Text that does nothing to a terminal or a page's direction of writing. */
export const harmless = (text: string): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is to be found
  text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");

function connectionError(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  // What the runtime says of names that resolve to nothing, among others, helps nobody but its makers.
  if (text.startsWith("internal error")) return "not reached: no connection (is the name right, and does it listen?)";
  return `not reached: ${harmless(text.slice(0, 200))}`;
}
