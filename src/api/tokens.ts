import { z } from "zod";
import { TokenId } from "../../contract/id.ts";
import type { Violation } from "../../contract/problem.ts";
import { type Principal, permits, SCOPES } from "../../contract/scope.ts";
import { TokenCreate, TokenCreated, TokenView } from "../../contract/token.ts";
import { remote } from "../../objects/remote.ts";
import { covers, exceeds } from "../../objects/token/reach.ts";
import { forget } from "../access.ts";
import { conditional, resource } from "../answer.ts";
import { TOKEN, TOKEN_CREATED } from "../example.ts";
import { coveredRows, pageAnswer } from "../listing.ts";
import { fail, unwrap } from "../problem.ts";
import { limit, several } from "../query.ts";
import { type Ask, route } from "../route.ts";
import { call } from "../stub.ts";
import { createToken, withNewSecret } from "../token-secret.ts";
import { checkBody } from "../violations.ts";

const params = { id: TokenId };
const tokenStub = (ask: Ask) => () => remote(ask.env.TOKEN, ask.params.id as string);

const CODES: Record<string, string> = {
  name: "token.name.format",
  namespaces: "token.namespaces.format",
  expire_at: "token.expire_at.format",
};

/** The violations under the codes that Ring has for them, and those that no schema can say. */
function checkToken(body: unknown): { ok: true; value: TokenCreate } | { ok: false; violations: Violation[] } {
  const checked = checkBody(TokenCreate, body);
  if (!checked.ok) {
    const known = (v: Violation): Violation => {
      if (v.code === "unknown_field" || v.code === "required") return v;
      if (v.property_path === "scopes") return { ...v, code: "token.scopes.empty" };
      if (v.property_path.startsWith("scopes["))
        return { ...v, message: `expected one of ${SCOPES.join(", ")}`, code: "token.scopes.unknown" };
      return { ...v, code: CODES[v.property_path.split("[")[0] ?? ""] ?? v.code };
    };
    return { ok: false, violations: checked.violations.map(known) };
  }
  const { scopes, expire_at } = checked.value;
  const violations: Violation[] = [];
  if (scopes.includes("hosts:join")) {
    const message = "a token that joins hosts is made with `POST /join-tokens`";
    violations.push({ property_path: `scopes[${scopes.indexOf("hosts:join")}]`, message, code: "token.scopes.join" });
  }
  if (expire_at != null && Date.parse(expire_at) <= Date.now()) {
    violations.push({ property_path: "expire_at", message: "expected a time to come", code: "token.expire_at.past" });
  }
  return violations.length > 0 ? { ok: false, violations } : checked;
}

/** Nobody hands out more than they have. */
function permitGrant({ namespaces, scopes }: TokenCreate, principal: Principal): void {
  const foreign = namespaces.find((namespace) => !permits(principal, namespace));
  if (foreign !== undefined)
    fail(
      "namespace_not_permitted",
      `Your token is not for the namespace ${JSON.stringify(foreign)}, so it cannot give it to another.`,
    );
  if (!covers(principal, namespaces))
    fail(
      "namespace_not_permitted",
      "Your token is for some namespaces only, so it cannot make one for all of them: name `namespaces`.",
    );
  const beyond = exceeds(principal, scopes);
  if (beyond)
    fail("insufficient_scope", `Your token has not the scope ${beyond}, so it cannot give it to another.`, {
      more: { required_scope: beyond },
    });
}

export const TOKENS = [
  route({
    method: "POST",
    path: "/tokens",
    access: "tokens:write",
    group: "Tokens",
    summary: "Make a token",
    description:
      "Its scopes and namespaces must lie within your own. The answer is the only one that carries the token; it is stored nowhere. (The same request again with the same Idempotency-Key gets the same answer for a day: until then the secret is kept, encrypted under your own token, which is stored nowhere either.)",
    body: {
      schema: TokenCreate,
      check: checkToken,
      example: { name: "ci", scopes: ["deployments:read", "deployments:write"], namespaces: ["shop"] },
    },
    mutation: ["idempotency"],
    answers: {
      201: {
        description: "Made",
        schema: TokenCreated,
        example: TOKEN_CREATED,
        headers: { Location: "Address of the token" },
      },
    },
    problems: ["namespace_not_permitted"],
    handle: (ask) => {
      permitGrant(ask.body, ask.principal);
      const { name, scopes, namespaces, expire_at } = ask.body;
      const expires_at = expire_at == null ? null : Date.parse(expire_at);
      return createToken(ask, {
        name,
        scopes: [...new Set(scopes)],
        namespaces: [...new Set(namespaces)],
        labels: {},
        expires_at,
        uses_left: null,
      });
    },
  }),
  route({
    method: "GET",
    path: "/tokens",
    access: "tokens:read",
    group: "Tokens",
    summary: "List tokens",
    description:
      "Newest first, join tokens included, and what was revoked or has expired for 30 days after its end. A token for some namespaces sees those that are for no others. Sessions are not listed.",
    query: z.object({
      status: several(z.enum(["active", "revoked"])),
      limit: limit(1000, 1000),
      cursor: TokenId.optional().describe("From the `Link` header of the page before"),
    }),
    answers: {
      200: {
        description: "One page",
        schema: z.array(TokenView),
        example: [TOKEN],
        headers: { Link: '`<…>; rel="next"` when there are more' },
      },
    },
    handle: async (ask) => pageAnswer(ask, await coveredRows(ask.env, "token", ask.principal, ask.query)),
  }),
  route({
    method: "GET",
    path: "/tokens/:id",
    access: "tokens:read",
    group: "Tokens",
    summary: "Read a token",
    params,
    answers: {
      200: { description: "The token, without its secret", schema: TokenView, example: TOKEN },
      304: { description: "`If-None-Match` names its revision" },
    },
    handle: async (ask) =>
      conditional(ask.request, unwrap(await call(tokenStub(ask), (token) => token.read(ask.principal)))),
  }),
  route({
    method: "DELETE",
    path: "/tokens/:id",
    access: "tokens:write",
    group: "Tokens",
    summary: "Revoke a token",
    description:
      "It stays listed for 30 days. It is refused at once where this request is carried out, and within 5 s everywhere.",
    params,
    mutation: ["idempotency", "if-match"],
    answers: { 204: { description: "Revoked, now or before" } },
    handle: async (ask) => {
      const mutation = await ask.mutation();
      const answer = unwrap(await call(tokenStub(ask), (token) => token.revoke(mutation, ask.principal)));
      forget(ask.params.id as string);
      return resource(answer);
    },
  }),
  route({
    method: "POST",
    path: "/tokens/:id/rotate",
    access: "tokens:write",
    group: "Tokens",
    summary: "Give a token a new secret",
    description:
      "Name, scopes, namespaces and expiry stay. The old secret is refused at once where this request is carried out, and within 5 s everywhere.",
    params,
    mutation: ["idempotency", "if-match"],
    answers: {
      201: { description: "Rotated; the answer carries the new token", schema: TokenCreated, example: TOKEN_CREATED },
    },
    problems: ["action_not_allowed"],
    handle: async (ask) => {
      const mutation = await ask.mutation();
      const answer = await withNewSecret(ask, ask.params.id as string, mutation, (drawn) =>
        call(tokenStub(ask), (token) => token.rotate(drawn, mutation, ask.principal)),
      );
      forget(ask.params.id as string);
      return answer;
    },
  }),
];
