import { Hono } from "hono";
import { newId } from "../contract/id.ts";
import { actorOf, holds, type Principal } from "../contract/scope.ts";
import { authenticate } from "./access.ts";
import { ROUTES } from "./api/routes.ts";
import { readJson } from "./body.ts";
import { mutationOf } from "./mutation.ts";
import { errorAnswer, fail, problemAnswer } from "./problem.ts";
import { readQuery } from "./query.ts";
import { type Ask, NOBODY, type Route } from "./route.ts";
import { ticketHolder } from "./stream-ticket.ts";
import { checkBody, refuseBody } from "./violations.ts";

/** Every route answers under each of these. */
export const PREFIXES = ["", "/v1"] as const;

export const app = new Hono<{ Bindings: Env }>();

for (const prefix of PREFIXES) {
  for (const route of ROUTES) {
    app.on(route.method, prefix + route.path, (c) =>
      serve(
        route,
        prefix,
        c.req.raw,
        c.req.param() as Record<string, string>,
        c.env,
        c.executionCtx as ExecutionContext,
      ),
    );
  }
  for (const [path, allow] of methodsByPath()) {
    app.all(prefix + path, (c) =>
      problemAnswer(
        { code: "method_not_allowed", detail: `${c.req.method} is not possible here; ${allow} is.` },
        requestIdOf(c.req.raw),
        { allow },
      ),
    );
  }
}

app.notFound((c) =>
  problemAnswer({ code: "not_found", detail: `There is nothing at ${c.req.path}.` }, requestIdOf(c.req.raw)),
);
app.onError((error, c) => errorAnswer(error, c.req.raw, requestIdOf(c.req.raw)));

/** What every request goes through, in this order: token, scope, parameters, query, body. Unknown paths and methods never come here. */
async function serve(
  route: Route,
  prefix: string,
  request: Request,
  params: Record<string, string>,
  env: Env,
  ctx: ExecutionContext,
): Promise<Response> {
  const requestId = requestIdOf(request);
  try {
    const principal = await admit(route, request, params, env, ctx);
    for (const [name, form] of Object.entries(route.params ?? {})) {
      if (!form.safeParse(params[name]).success)
        fail("not_found", `There is no ${JSON.stringify(params[name]?.slice(0, 100))}.`);
    }
    const query = route.query ? readQuery(route.query, request.url) : {};
    let text = "";
    let body: unknown;
    if (route.body) {
      const read = await readJson(request);
      text = read.text;
      route.body.permit?.(read.value, principal);
      const checked = route.body.check ? route.body.check(read.value) : checkBody(route.body.schema, read.value);
      if (!checked.ok) refuseBody(checked.violations);
      body = checked.value;
    }
    const mutation = () =>
      mutationOf({ request, target: targetOf(request, prefix), text, actor: actorOf(principal), requestId });
    const ask: Ask = { env, ctx, request, requestId, prefix, principal, params, query, body, mutation };
    const answer = await route.handle(ask);
    // What an object answered to a signed request goes out as it is; a WebSocket's answer could not be changed anyway.
    if (route.access !== "signed" && answer.status !== 101) answer.headers.set("x-request-id", requestId);
    return answer;
  } catch (error) {
    return errorAnswer(error, request, requestId);
  }
}

/** Who asks, when they may call the route. */
async function admit(
  route: Route,
  request: Request,
  params: Record<string, string>,
  env: Env,
  ctx: ExecutionContext,
): Promise<Principal> {
  const { access } = route;
  if (access === "open" || access === "signed" || route.isPublic?.(env)) return NOBODY;
  if (route.ticket && !request.headers.has("authorization")) {
    const holder = await ticketHolder(env, request, route.ticket, params.id ?? "");
    if (holder) return holder;
  }
  const principal = await authenticate(request, env, ctx);
  if (access !== "any" && !holds(principal, access))
    fail("insufficient_scope", `This needs the scope ${access}.`, { more: { required_scope: access } });
  return principal;
}

/** The caller's `X-Request-Id` when it is a plain one, else a new id. */
function requestIdOf(request: Request): string {
  const own = request.headers.get("x-request-id");
  return own !== null && /^[\w.:-]{1,128}$/.test(own) ? own : newId("request", Date.now());
}

function targetOf(request: Request, prefix: string): string {
  const { pathname, search } = new URL(request.url);
  return pathname.slice(prefix.length) + search;
}

function methodsByPath(): Map<string, string> {
  const methods = new Map<string, string>();
  for (const { method, path } of ROUTES) {
    const own = method === "GET" ? "GET, HEAD" : method;
    const others = methods.get(path);
    methods.set(path, others === undefined ? own : `${others}, ${own}`);
  }
  return methods;
}
