import type { Violation } from "../../contract/problem.ts";
import { parseDuration } from "../../contract/quantity.ts";
import { JoinTokenCreate, TokenCreated } from "../../contract/token.ts";
import { TOKEN_CREATED } from "../example.ts";
import { route } from "../route.ts";
import { createToken } from "../token-secret.ts";
import { checkBody } from "../violations.ts";

const LONGEST_MS = 7 * 86_400_000;

function checkJoinToken(body: unknown): { ok: true; value: JoinTokenCreate } | { ok: false; violations: Violation[] } {
  const checked = checkBody(JoinTokenCreate, body);
  const asked = (body as { expires_in?: unknown } | null)?.expires_in ?? "1h";
  const ms = typeof asked === "string" ? parseDuration(asked) : 0;
  if (typeof asked !== "string" || (ms !== null && ms >= 1000 && ms <= LONGEST_MS)) return checked;
  const late: Violation = {
    property_path: "expires_in",
    message: 'expected a duration from 1s to 7d such as "1h"',
    code: "token.expires_in.invalid",
  };
  return { ok: false, violations: [...(checked.ok ? [] : checked.violations), late] };
}

export const JOIN_TOKENS = [
  route({
    method: "POST",
    path: "/join-tokens",
    access: "hosts:write",
    group: "Hosts",
    summary: "Make a join token",
    description:
      "A token with which hosts can enrol, and nothing else. It lives an hour when `expires_in` is left out, and joins one host when `uses` is. It is listed among the tokens, and revoked there.",
    body: {
      schema: JoinTokenCreate,
      check: checkJoinToken,
      example: { expires_in: "30m", uses: 3, labels: { zone: "a" } },
    },
    mutation: ["idempotency"],
    answers: {
      201: {
        description: "Made; the answer is the only one that carries the token",
        schema: TokenCreated,
        example: {
          ...TOKEN_CREATED,
          name: "join",
          scopes: ["hosts:join"],
          namespaces: [],
          uses_left: 3,
          labels: { zone: "a" },
        },
      },
    },
    handle: (ask) => {
      const { expires_in, uses, labels } = ask.body;
      const expires_at = Date.now() + (parseDuration(expires_in) as number);
      return createToken(ask, {
        name: "join",
        scopes: ["hosts:join"],
        namespaces: [],
        labels,
        expires_at,
        uses_left: uses,
      });
    },
  }),
];
