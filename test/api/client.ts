import { exports } from "cloudflare:workers";
import { inject, vi } from "vitest";

export const ROOT = inject("rootToken");

/** A moment far from now: alarms that are set by it are kept and never ring by themselves. */
export const NOW = Date.UTC(2100, 0, 1);

export const freeze = (): void => void vi.useFakeTimers({ toFake: ["Date"], now: NOW });

export type Sent = { token?: string | null; body?: unknown; headers?: Record<string, string>; raw?: BodyInit };
export type Got<T = Record<string, unknown>> = { status: number; headers: Headers; text: string; body: T };

/** One request to the Worker. The root token, unless another one or (null) none is given. */
export async function request<T = Record<string, unknown>>(
  method: string,
  path: string,
  sent: Sent = {},
): Promise<Got<T>> {
  const { token = ROOT, body, headers = {}, raw } = sent;
  const response = await exports.default.fetch(`http://lamplighter${path}`, {
    method,
    headers: {
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...headers,
    },
    ...(body === undefined ? (raw === undefined ? {} : { body: raw }) : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  const json = /json/.test(response.headers.get("content-type") ?? "");
  return { status: response.status, headers: response.headers, text, body: (json ? JSON.parse(text) : {}) as T };
}

let last = 0;
/** A name that no other test uses. */
export const fresh = (stem: string): string =>
  `${stem}-${Date.now().toString(36)}-${(last++).toString(36)}-${crypto.randomUUID().slice(0, 6)}`;

export type TokenAnswer = {
  id: string;
  token: string;
  token_prefix: string;
  revision: number;
  uses_left: number | null;
  expire_at: string | null;
};

export async function makeToken(
  scopes: string[],
  rest: Record<string, unknown> = {},
  by: string = ROOT,
): Promise<TokenAnswer> {
  const made = await request<TokenAnswer>("POST", "/tokens", {
    token: by,
    body: { name: fresh("t"), scopes, ...rest },
  });
  if (made.status !== 201) throw new Error(`token not made: ${made.text}`);
  return made.body;
}

export const sleeper = (rest: Record<string, unknown> = {}): Record<string, unknown> => ({
  name: fresh("sleep"),
  runtime: "process",
  command: ["sleep", "100"],
  ...rest,
});
