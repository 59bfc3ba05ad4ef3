import { accept, type Reply, refuse } from "../../contract/problem.ts";
import { holds, type Principal, type ScopeName } from "../../contract/scope.ts";
import type { TokenRecord } from "./record.ts";

/** Whether everything that lies in `namespaces` (empty: all) is within what the principal may see. */
export const covers = (principal: Principal, namespaces: readonly string[]): boolean =>
  principal.namespaces.length === 0 ||
  (namespaces.length > 0 && namespaces.every((namespace) => principal.namespaces.includes(namespace)));

/** The first scope that the principal would hand out without holding it, or null. A join token is made by whoever may change hosts. */
export const exceeds = (principal: Principal, scopes: readonly ScopeName[]): ScopeName | null =>
  scopes.find((scope) => !holds(principal, scope === "hosts:join" ? "hosts:write" : scope)) ?? null;

/** The token, when the principal may see it: what is for other namespaces is as if it were not there, and so is a session. */
export const seen = (by: Principal, id: string, token: TokenRecord | null): Reply<TokenRecord> =>
  token && token.kind === "access" && covers(by, token.namespaces)
    ? accept(token)
    : refuse("not_found", `There is no token ${id}.`);

/** The token, when the principal may change it: only who could have made it, else a small token could take over a great one. */
export function governed(by: Principal, id: string, token: TokenRecord | null): Reply<TokenRecord> {
  const reply = seen(by, id, token);
  const beyond = reply.ok ? exceeds(by, reply.value.scopes) : null;
  if (beyond === null) return reply;
  const more = { required_scope: beyond };
  return refuse("insufficient_scope", `This token has the scope ${beyond}, which yours has not.`, { more });
}
