import { workloadId } from "../../contract/id.ts";
import { SLOT } from "../../contract/instance.ts";
import { endpointUrl } from "../../contract/route.ts";
import { choose } from "../deployment/placement.ts";
import { post } from "../outbox.ts";
import { CLUSTER_SHARD } from "../projection.ts";
import { remote } from "../remote.ts";
import { candidates } from "../workload-host.ts";
import type { Sender } from "./deliver.ts";
import type { Seen } from "./engine.ts";
import type { InstanceRecord } from "./kept.ts";
import { engineKeys } from "./keys.ts";
import type { EvictionCause } from "./placing.ts";
import { endpointOf, type Routing, routeHost, routeOf, routeWorkload } from "./route.ts";
import { noteAsked } from "./vitals.ts";

const NONE: Routing = { generation: 0, host_id: null, body: "", address: null, is_up: false };

export function routing(sql: SqlStorage): Routing {
  const row = sql
    .exec<Omit<Routing, "is_up"> & { is_up: number }>("SELECT generation, host_id, body, address, is_up FROM route")
    .toArray()[0];
  return row ? { ...row, is_up: row.is_up === 1 } : NONE;
}

function put(sql: SqlStorage, { generation, host_id, body, address, is_up }: Routing): void {
  const values = [generation, host_id, body, address, is_up ? 1 : 0];
  sql.exec("INSERT OR REPLACE INTO route VALUES (1, ?, ?, ?, ?, ?)", ...values);
}

type Told = Pick<InstanceRecord, "identity" | "state" | "spec">;

/** Whether its host has something else to be told than before. */
export function isRouteNews(sql: SqlStorage, before: Told | null, after: Told): boolean {
  const present = routing(sql);
  return textOf(before, present) !== textOf(after, present);
}

/** Which keys there are is told with the orders. */
function textOf(record: Told | null, { host_id }: Routing): string {
  const host = record && routeHost(record.state, host_id);
  if (record === null || (host === null && host_id === null)) return "";
  const { identity, state, spec } = record;
  return `${host} ${JSON.stringify(routeOf({ id: identity.id, state, spec }, []))}`;
}

/** The host on which it is has it no more from its next word on. */
function moveAway(sql: SqlStorage, present: Routing): Routing {
  if (present.host_id !== null)
    sql.exec("INSERT OR REPLACE INTO route_leaving VALUES (?, ?)", present.host_id, present.generation);
  return { ...present, host_id: null, is_up: false };
}

/** Tells the present route to the host where it should be, and takes it from where it was. One that no host takes waits until something changes there. */
export async function sayRoute(record: InstanceRecord, sender: Sender, isRegistered = false): Promise<void> {
  const { env, sql } = sender;
  const chosen = await hostFor(record, sender);
  const workload = sender.change(() => {
    const now = sender.load();
    if (now === null) return null;
    const { id } = now.identity;
    let present = routing(sql);
    if (present.host_id !== null && present.host_id !== chosen) present = moveAway(sql, present);
    const route = routeOf({ id, state: now.state, spec: now.spec }, engineKeys(sql));
    const body = JSON.stringify(route);
    if (chosen !== null && (present.host_id !== chosen || present.body !== body))
      present = { ...present, generation: present.generation + 1, host_id: chosen, body };
    put(sql, chosen === null ? { ...present, body: "", address: null } : present);
    const { sealed } = sql.exec<{ sealed: string }>("SELECT sealed FROM key_secret").one();
    return chosen === null ? null : routeWorkload(now, present.generation, route, sealed);
  });
  if (workload !== null && chosen !== null) {
    const [answer] = await remote(env.HOST, chosen).assign([workload]);
    if (!answer?.accepted) {
      sender.change(() => {
        const present = routing(sql);
        const isSame = present.host_id === chosen && present.generation === workload.generation;
        if (isSame) put(sql, { ...moveAway(sql, present), body: "" });
      });
    }
  }
  await withdrawFormer(record, sender);
  const present = sender.load();
  if (present === null || !isHomeless(present) || isRegistered) return;
  // Room that came between the look and the registration is seen by the second look; later room is told.
  await remote(env.INDEX, CLUSTER_SHARD).awaitCapacity(present.identity.id);
  await sayRoute(present, sender, true);
}

/** It should be somewhere, and is nowhere. */
const isHomeless = ({ state, route }: InstanceRecord): boolean =>
  route.host_id === null && routeHost(state, null) !== null;

/** Room may have come on a host. */
export function routeCapacity({ sql, load, change }: Sender): void {
  const record = load();
  if (record !== null && isHomeless(record)) change((now) => post(sql, "route", now));
}

/** Null when it is to be nowhere, or no host takes it now. */
async function hostFor({ state }: InstanceRecord, { env, sql }: Sender): Promise<string | null> {
  const wanted = routeHost(state, routing(sql).host_id);
  if (wanted !== "any") return wanted;
  const hosts = await candidates(env);
  const need = { runtime: "proxy" as const, labels: {}, memory_bytes: 0, cpu_millis: 0 };
  const others = new Map(hosts.map(({ id }) => [id, id === state.home ? 0 : 1]));
  const choice = choose(hosts, need, others, {});
  return choice.type === "chosen" ? choice.host_id : null;
}

type Former = { host_id: string; generation: number };

const former = (sql: SqlStorage): Former[] =>
  sql.exec<Former>("SELECT host_id, generation FROM route_leaving").toArray();

const withdraw = (env: Env, id: string, { host_id, generation }: Former) =>
  remote(env.HOST, host_id).withdraw(id, [{ id: workloadId(id, SLOT.route), generation }]);

async function withdrawFormer({ identity }: InstanceRecord, { env, sql, change }: Sender): Promise<void> {
  for (const one of former(sql)) {
    const isBack = routing(sql).host_id === one.host_id;
    if (!isBack) await withdraw(env, identity.id, one);
    change(() => {
      sql.exec("DELETE FROM route_leaving WHERE host_id = ? AND generation = ?", one.host_id, one.generation);
    });
  }
}

/** Of a deleted instance: every route goes. */
export async function withdrawRoutes(
  { identity, route }: InstanceRecord,
  { env, sql }: Pick<Sender, "env" | "sql">,
): Promise<void> {
  const { host_id, generation } = route;
  const all = [...former(sql), ...(host_id === null ? [] : [{ host_id, generation }])];
  for (const one of all) await withdraw(env, identity.id, one);
}

/** What a host saw of the route. One that went by itself comes back as a new generation. */
export function routeSeen({ sql, load, change, apply }: Sender, hostId: string, reports: readonly Seen[]): void {
  const id = load()?.identity.id;
  const present = id === undefined ? NONE : routing(sql);
  const seen = reports.findLast(({ slot, generation }) => slot === SLOT.route && generation === present.generation);
  if (id === undefined || seen === undefined || present.host_id !== hostId) return;
  const { observation } = seen;
  if (observation.phase === "exited" || observation.phase === "gone") {
    change((now) => {
      put(sql, { ...present, body: "" });
      post(sql, "route", now);
    });
    return;
  }
  if (observation.phase !== "running" || observation.address === null) return;
  const { address } = observation;
  if (present.is_up && present.address === address) return;
  change(() => put(sql, { ...present, address, is_up: true }));
  apply({
    type: "endpoint",
    url: endpointUrl(address, id),
    former: present.address && endpointUrl(present.address, id),
  });
}

/** Workloads cannot stay on a host. @param evict tells the machine, in between: where the route goes next follows from what becomes of the engine */
export function routeEvicted(
  { sql, load, change, apply }: Sender,
  hostId: string,
  why: EvictionCause,
  evict: () => void,
): void {
  const record = load();
  const present = record ? routing(sql) : NONE;
  // An engine that serves there has to be reached until its successor serves elsewhere.
  const isNeeded = why === "host_draining" && record !== null && routeHost(record.state, null) === hostId;
  if (record === null || present.host_id !== hostId || isNeeded) {
    evict();
    return;
  }
  const gone = { ...present, host_id: null, is_up: false };
  change(() => put(sql, { ...(why === "host_removed" ? gone : moveAway(sql, present)), body: "" }));
  evict();
  change((now) => post(sql, "route", now));
  apply({ type: "endpoint", url: null, former: endpointOf(record.identity.id, present) });
}

/** Somebody with a key asks on its host; `waits`: while it is paused. */
export function routeAsked({ sql, load, change, apply }: Sender, waits: boolean): void {
  if (load() === null) return;
  if (waits) apply({ type: "wanted" });
  else change((now) => noteAsked(sql, now));
}
