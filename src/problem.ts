import { PROBLEMS, type ProblemCode, problemBody, type Refusal, type Reply } from "../contract/problem.ts";
import { withRingMembers } from "./ring-members.ts";

/** A refusal on its way out of a handler. Nothing but `problemAnswer` turns it into an answer. */
export class ProblemError extends Error {
  readonly refusal: Refusal;
  readonly headers: Record<string, string>;

  constructor(refusal: Refusal, headers: Record<string, string> = {}) {
    super(refusal.detail);
    this.refusal = refusal;
    this.headers = headers;
  }
}

/** Leaves a handler with a problem. */
export function fail(code: ProblemCode, detail: string, rest: Omit<Refusal, "code" | "detail"> = {}): never {
  throw new ProblemError({ code, detail, ...rest });
}

/** The value of an object's reply; leaves the handler when it is a refusal. */
export function unwrap<T>(reply: Reply<T>): T {
  if (reply.ok) return reply.value;
  throw new ProblemError(reply.refusal);
}

/** Seconds that a caller should wait, by code. */
const RETRY_AFTER: Partial<Record<ProblemCode, string>> = {
  overloaded: "1",
  host_unavailable: "5",
  request_in_progress: "1",
};

/** The only place that makes an error answer. */
export function problemAnswer(refusal: Refusal, requestId: string, headers: Record<string, string> = {}): Response {
  const all = new Headers(headers);
  all.set("content-type", "application/problem+json");
  all.set("cache-control", "no-store");
  all.set("x-request-id", requestId);
  if (refusal.code === "unauthenticated") all.set("www-authenticate", 'Bearer realm="lamplighter"');
  const wait = refusal.more?.retry_after ?? RETRY_AFTER[refusal.code];
  if (wait !== undefined) all.set("retry-after", String(wait));
  return new Response(JSON.stringify(problemBody(refusal, requestId)), {
    status: PROBLEMS[refusal.code].status,
    headers: all,
  });
}

/** The answer for anything that was thrown. What nobody expected is logged once, without headers, query or body: those hold secrets. */
export function errorAnswer(error: unknown, request: Request, requestId: string): Response {
  const { pathname } = new URL(request.url);
  if (error instanceof ProblemError) {
    return problemAnswer(withRingMembers(request.method, pathname, error.refusal), requestId, error.headers);
  }
  const text = error instanceof Error ? (error.stack ?? String(error)) : String(error);
  console.error(
    JSON.stringify({
      level: "error",
      request_id: requestId,
      method: request.method,
      path: pathname,
      error: text.slice(0, 4000),
    }),
  );
  const detail = `Something went wrong here. Its traces are under request_id ${requestId}.`;
  return problemAnswer(withRingMembers(request.method, pathname, { code: "internal", detail }), requestId);
}
