import type { Answer } from "../contract/request.ts";

const JSON_HEADERS = { "content-type": "application/json" };

export const etag = (revision: number): string => `"r${revision}"`;

/** JSON text as it is; nothing is parsed or checked on the way out. */
export const jsonText = (body: string, headers: Record<string, string> = {}, status = 200): Response =>
  new Response(body, { status, headers: { ...JSON_HEADERS, ...headers } });

/** A resource as its object answered it, with its revision as the entity tag. */
export function resource(answer: Answer, headers: Record<string, string> = {}): Response {
  if (answer.status === 204) return new Response(null, { status: 204, headers });
  return new Response(answer.body, {
    status: answer.status,
    headers: { "content-type": "application/json", etag: etag(answer.revision), ...headers },
  });
}

/** A resource for a GET: 304 without a body when the caller has this revision already. */
export function conditional(request: Request, answer: Answer): Response {
  const known = request.headers.get("if-none-match");
  if (
    known !== null &&
    (known.trim() === "*" || known.split(",").some((tag) => tag.trim().replace(/^W\//, "") === etag(answer.revision)))
  ) {
    return new Response(null, { status: 304, headers: { etag: etag(answer.revision) } });
  }
  return resource(answer);
}
