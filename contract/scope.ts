import { z } from "zod";

/** The nouns that tokens can be scoped to; each has `:read` and `:write`. A new kind of resource adds its noun here. */
export const SCOPED_NOUNS = [
  "deployments",
  "schedules",
  "namespaces",
  "configs",
  "secrets",
  "volumes",
  "databases",
  "webhooks",
  "hooks",
  "connections",
  "instances",
  "users",
  "hosts",
  "tokens",
  "audit",
] as const;

export const SCOPES = [
  ...SCOPED_NOUNS.flatMap((noun) => [`${noun}:read`, `${noun}:write`] as const),
  "hosts:join",
  "databases:connect",
  "admin",
] as const;

/**
 * `admin` holds every scope (but does not widen a namespace list); `hosts:join` enrols one host and does nothing else; `databases:connect` is
 * for gateways: it learns who may log in to which database, of all namespaces, and wakes them.
 */
export const Scope = z.enum(SCOPES as unknown as readonly [ScopeName, ...ScopeName[]]);
export type ScopeName =
  | `${(typeof SCOPED_NOUNS)[number]}:${"read" | "write"}`
  | "hosts:join"
  | "databases:connect"
  | "admin";

/** Who is asking: what a verified token says. An empty namespace list means all namespaces. */
export const Principal = z.object({
  token_id: z.string(),
  name: z.string(),
  scopes: z.array(Scope),
  namespaces: z.array(z.string()),
  user_id: z.string().optional().describe("Whose token it is, when it is a user's"),
  session: z.boolean().optional().describe("It was made by logging in"),
});
export type Principal = z.infer<typeof Principal>;

/** Under which id the trail and the journals name the principal: a session's own id says nothing to anybody. */
export const actorOf = ({ token_id, user_id, session }: Principal): string => (session && user_id) || token_id;

/** Whether the principal holds the scope. `hosts:join` is never implied: a join token must carry it. */
export const holds = (principal: Principal, scope: ScopeName): boolean =>
  principal.scopes.includes(scope) || (scope !== "hosts:join" && principal.scopes.includes("admin"));

/** Whether the principal may see and change what is in the namespace. */
export const permits = (principal: Pick<Principal, "namespaces">, namespace: string): boolean =>
  principal.namespaces.length === 0 || principal.namespaces.includes(namespace);
