import type { Principal } from "../contract/scope.ts";
import type { ListQuery, Slice } from "../objects/index/list.ts";
import { ALL_NAMESPACE_SHARDS, CLUSTER_SHARD, shardOf } from "../objects/projection.ts";
import { remote } from "../objects/remote.ts";
import { covers } from "../objects/token/reach.ts";
import { jsonText } from "./answer.ts";
import type { Ask } from "./route.ts";
import { call } from "./stub.ts";

/** One page out of several IndexObjects, newest first; `next` is where the following page starts. */
export type Merged = { bodies: string[]; next: string | null };

/** How many rows each of several shards is asked for at first: twice its fair share, since rows are not spread evenly. */
const firstHelping = (limit: number, shards: number): number =>
  shards === 1 ? limit : Math.min(limit, Math.max(16, Math.ceil((limit * 2) / shards)));

/**
 * Merges what shards hold by key, descending. A shard whose part is used up while it has more is asked again, so that the page is the same
 * as if one object held everything.
 */
export async function merge(
  shards: readonly string[],
  limit: number,
  before: string | null,
  ask: (shard: string, before: string | null, limit: number) => Promise<Slice>,
): Promise<Merged> {
  const helping = firstHelping(limit, shards.length);
  const parts = await Promise.all(
    shards.map(async (shard) => ({ shard, at: 0, slice: await ask(shard, before, helping) })),
  );
  const bodies: string[] = [];
  let last: string | null = before;
  while (bodies.length < limit) {
    const empty = parts.filter(({ at, slice }) => at === slice.keys.length && slice.more);
    if (empty.length > 0) {
      const wanted = limit - bodies.length;
      await Promise.all(
        empty.map(async (part) => {
          part.slice = await ask(part.shard, part.slice.keys.at(-1) ?? last, wanted);
          part.at = 0;
        }),
      );
      continue;
    }
    let next: (typeof parts)[number] | undefined;
    for (const part of parts) {
      const key = part.slice.keys[part.at];
      if (key !== undefined && (next === undefined || key > (next.slice.keys[next.at] as string))) next = part;
    }
    if (next === undefined) return { bodies, next: null };
    last = next.slice.keys[next.at] as string;
    bodies.push(next.slice.bodies[next.at] as string);
    next.at++;
  }
  const more = parts.some(({ at, slice }) => at < slice.keys.length || slice.more);
  return { bodies, next: more ? last : null };
}

/** The namespaces that a filter names, cut to those that the principal may see; null when that leaves none. */
export function visibleNamespaces(asked: readonly string[], permitted: readonly string[]): string[] | null {
  if (permitted.length === 0) return [...asked];
  const both = asked.length === 0 ? [...permitted] : asked.filter((namespace) => permitted.includes(namespace));
  return both.length === 0 ? null : both;
}

/** The IndexObjects that hold what belongs to these namespaces; none named means all. */
export const shardsOf = (namespaces: readonly string[]): readonly string[] =>
  namespaces.length === 0 ? ALL_NAMESPACE_SHARDS : [...new Set(namespaces.map(shardOf))];

/** A page of rows of resources. */
export const listRows = (env: Env, shards: readonly string[], query: ListQuery): Promise<Merged> =>
  merge(shards, query.limit, query.before, (shard, before, limit) =>
    call(
      () => remote(env.INDEX, shard),
      (index) => index.list({ ...query, before, limit }),
    ),
  );

/**
 * A page of what belongs to the cluster and is limited to namespaces by what it says itself. Only for a principal that is bound to some is
 * each row looked into.
 */
export async function coveredRows(
  env: Env,
  kind: ListQuery["kind"],
  principal: Principal,
  { cursor, limit, status = [] }: { cursor?: string | undefined; limit: number; status?: string[] },
): Promise<Merged> {
  const bound = principal.namespaces.length > 0;
  const bodies: string[] = [];
  let before = cursor ?? null;
  for (;;) {
    const page = await listRows(env, [CLUSTER_SHARD], {
      kind,
      namespaces: [],
      names: [],
      statuses: status,
      types: [],
      labels: [],
      before,
      limit: bound ? 1000 : limit,
    });
    if (!bound) return page;
    for (const body of page.bodies) {
      const view = JSON.parse(body) as { id: string; namespaces: string[] };
      if (!covers(principal, view.namespaces)) continue;
      if (bodies.length === limit) return { bodies, next: before };
      bodies.push(body);
      before = view.id;
    }
    if (page.next === null) return { bodies, next: null };
    if (bodies.length < limit) before = page.next;
  }
}

/** The answer of a list of resources that live in namespaces: those of a kind that the filters leave. */
export async function resourcesPage(
  ask: Ask<{ namespace: string[]; limit: number; cursor?: string | undefined }, unknown>,
  kind: ListQuery["kind"],
  filters: Partial<Pick<ListQuery, "names" | "statuses" | "types" | "labels">>,
): Promise<Response> {
  const { namespace, limit, cursor } = ask.query;
  const namespaces = visibleNamespaces(namespace, ask.principal.namespaces);
  if (namespaces === null) return pageAnswer(ask, { bodies: [], next: null });
  const all = { names: [], statuses: [], types: [], labels: [] };
  const query = { ...all, ...filters, kind, namespaces, before: cursor ?? null, limit };
  return pageAnswer(ask, await listRows(ask.env, shardsOf(namespaces), query));
}

/** The answer: the texts as they are, and a link to the next page that keeps every other query parameter. */
export function pageAnswer(ask: Ask, { bodies, next }: Merged): Response {
  const headers: Record<string, string> = {};
  if (next !== null) {
    const { pathname, searchParams } = new URL(ask.request.url);
    searchParams.set("cursor", next);
    headers.link = `<${pathname}?${searchParams}>; rel="next"`;
  }
  return jsonText(`[${bodies.join(",")}]`, headers);
}
