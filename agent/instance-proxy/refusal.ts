import type { ServerResponse } from "node:http";
import { QUERY_PROBLEMS, type QueryProblemCode } from "../../contract/engine-query.ts";

/** Why the proxy answers by itself; in the words of an engine, so that callers need to know one kind of error only. */
export type Refusal = {
  code: QueryProblemCode;
  detail: string;
  retryAfterSeconds?: number;
  /** Further members of the body. */
  more?: Record<string, unknown>;
};

export function refuse(response: ServerResponse, { code, detail, retryAfterSeconds, more = {} }: Refusal): void {
  if (response.headersSent || response.destroyed) return;
  const status = QUERY_PROBLEMS[code];
  const title = code.replaceAll("_", " ");
  const body = Buffer.from(JSON.stringify({ ...more, type: "about:blank", title, status, code, detail }));
  if (retryAfterSeconds !== undefined) response.setHeader("retry-after", retryAfterSeconds);
  // What was not read of the request must not be taken for the next one.
  if (!response.req.complete) response.setHeader("connection", "close");
  response.writeHead(status, { "content-type": "application/problem+json", "content-length": body.length });
  response.end(body);
}
