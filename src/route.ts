import type { z } from "zod";
import type { ProblemCode, Violation } from "../contract/problem.ts";
import type { Mutation } from "../contract/request.ts";
import { type Principal, SCOPES, type ScopeName } from "../contract/scope.ts";
import type { TicketKind } from "./stream-ticket.ts";

/**
 * Who may call a route: a scope; `any` = every valid token; `signed` = whoever the object itself recognises by signature; `open` = everyone.
 */
export type Access = ScopeName | "any" | "signed" | "open";

/** What a handler gets. `principal` is who asked; on an open or signed route it is NOBODY. */
export type Ask<Query = unknown, Body = unknown> = {
  env: Env;
  ctx: ExecutionContext;
  request: Request;
  requestId: string;
  /** `/v1` when the request came by it, else empty: links in the answer keep it. */
  prefix: string;
  principal: Principal;
  params: Record<string, string>;
  query: Query;
  body: Body;
  /** What the request's headers ask of a mutation. */
  mutation: () => Promise<Mutation>;
};

export type Answered = {
  description: string;
  schema?: z.ZodType;
  /** The media types it can come as; JSON when left out. */
  media?: readonly string[];
  example?: unknown;
  headers?: Record<string, string>;
};

export type BodyRule<Body> = {
  schema: z.ZodType<Body>;
  /** Its own check, where the schema is not the whole truth; the namespace check runs before it. */
  check?: (value: unknown) => { ok: true; value: Body } | { ok: false; violations: Violation[] };
  /** Refuses a body that names what the principal may not use, before anything else is looked at. */
  permit?: (value: unknown, principal: Principal) => void;
  example: unknown;
};

export type RouteInput<Query extends z.ZodObject, Body> = {
  method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  path: string;
  access: Access;
  /** May be read with a stream ticket of this kind instead of a token: `?ticket=`. */
  ticket?: TicketKind;
  /** Whether everyone may call it here, whatever `access` says: for who runs it to decide. */
  isPublic?: (env: Env) => boolean;
  /** The noun under which the documentation groups it. */
  group: string;
  summary: string;
  description?: string;
  /** What the path's parameters must look like; anything else is answered as an id that does not exist. */
  params?: Record<string, z.ZodType<string>>;
  query?: Query;
  body?: BodyRule<Body>;
  /** Takes `Idempotency-Key` and `If-Match`; which of them, for the documentation. */
  mutation?: readonly ("idempotency" | "if-match" | "wait")[];
  answers: Record<number, Answered>;
  /** Beyond those that follow from access, body, query and mutation. */
  problems?: readonly ProblemCode[];
  handle: (ask: Ask<z.output<Query>, Body>) => Promise<Response> | Response;
};

/** A route with its types erased, as router and documentation use it. */
export type Route = Omit<RouteInput<z.ZodObject, unknown>, "handle"> & {
  handle: (ask: Ask) => Promise<Response> | Response;
};

const ACCESSES: readonly string[] = [...SCOPES, "any", "signed", "open"];

/** Defines a route. Access is denied by default: a route that does not say who may call it cannot be made. */
export function route<Query extends z.ZodObject = z.ZodObject<Record<string, never>>, Body = undefined>(
  input: RouteInput<Query, Body>,
): Route {
  if (!ACCESSES.includes(input.access))
    throw new Error(`route ${input.method} ${input.path} does not say who may call it`);
  return input as unknown as Route;
}

export const NOBODY: Principal = { token_id: "", name: "", scopes: [], namespaces: [""] };
