import { workloadId } from "../../contract/id.ts";
import { type Engine, type InstanceSpec, type InstanceState, type Runner, SLOT } from "../../contract/instance.ts";
import type { EngineKey } from "../../contract/instance-key.ts";
import { REPORT_ENV } from "../../contract/instance-report.ts";
import { endpointUrl, type Route, type RouteTarget } from "../../contract/route.ts";
import type { Sealed } from "../../contract/sealed.ts";
import type { Workload } from "../../contract/workload.ts";
import type { InstanceRecord } from "./kept.ts";
import { resumesAfter } from "./pause-times.ts";

/** Where the queries of an instance go, and what is answered when they go nowhere: all of it follows from the state. */

type Known = { id: string; state: InstanceState; spec: Pick<InstanceSpec, "idle_pause" | "pause_schedule"> };

export function routeOf({ id, state, spec }: Known, keys: readonly Pick<EngineKey, "id" | "expires_at">[]): Route {
  const { serving, candidate } = state;
  return {
    target: serving?.loaded ? targetOf(id, serving) : null,
    loading: serving ? targetOf(id, serving) : candidate && targetOf(id, candidate),
    closed: closedOf(state, spec),
    tells: spec.idle_pause !== null,
    wakes: wakes(state, spec),
    keys: keys.map((key) => ({ id: key.id, expires_at: key.expires_at })),
  };
}

/** Null while its host has not said where it listens. */
function targetOf(id: string, { runner }: Engine): RouteTarget | null {
  if (runner.phase !== "running") return null;
  const { slot, generation, ports, address } = runner;
  const port = ports[0]?.published ?? Number(address?.split(":").at(-1));
  return Number.isInteger(port) && port > 0 ? { workload_id: workloadId(id, slot), generation, port } : null;
}

/** It rests, or comes back, only because nobody asked: whoever asks has it back. */
export const wakes = (
  { status, paused_by, operation }: InstanceState,
  { idle_pause }: Pick<Known["spec"], "idle_pause">,
): boolean =>
  ((status === "paused" || status === "pausing") && paused_by === "idle" && idle_pause !== null) ||
  (status === "resuming" && operation.by === "idle");

/** Told to whoever asks, with a key or without: nothing of hosts, sources or errors is in it. */
function closedOf(state: InstanceState, spec: Known["spec"]): Route["closed"] {
  const { status, serving, paused_by } = state;
  if (serving !== null)
    return { code: "no_engine", detail: "the engine is being started again", retry_after_s: 1, soon: true };
  switch (status) {
    case "paused":
    case "pausing":
      if (paused_by === "idle")
        return {
          ...{ code: "paused", detail: "paused, as nobody asked: a query with a key brings it back" },
          ...{ retry_after_s: 5, soon: false },
        };
      return {
        ...{ code: "paused", detail: "paused", retry_after_s: 60, soon: false },
        ...(spec.pause_schedule === null
          ? {}
          : { resumes_at: resumesAfter(spec.pause_schedule, state.schedule_until) }),
      };
    case "deploying":
    case "resuming":
      return { code: "loading", detail: "the engine is started and loads its rows", retry_after_s: 2, soon: false };
    case "testing_connection":
    case "queued":
    case "building":
      return { code: "no_engine", detail: "the engine is being built", retry_after_s: 15, soon: false };
    default:
      return { code: "no_engine", detail: `no engine serves: it is ${status}`, retry_after_s: 60, soon: false };
  }
}

const housed = (runner: Runner | undefined): string | null =>
  runner === undefined || runner.phase === "placing" ? null : runner.host_id;

/**
 * Where the route is to be: beside the engine; without one where it was, so that the endpoint stays. `any`: it was sent away from there, and has to
 * answer somewhere. Null: nowhere.
 */
export function routeHost(
  { status, serving, candidate, job }: InstanceState,
  present: string | null,
): string | "any" | null {
  if (status === "registered" || status === "terminated" || status === "terminating") return null;
  const beside = housed(serving?.runner) ?? (serving === null ? housed(candidate?.runner) : null);
  // The engine will most likely be where its source was tested, so that its endpoint is known when it serves.
  return beside ?? present ?? housed(job ?? undefined) ?? (status === "paused" || status === "pausing" ? "any" : null);
}

/** The route as its host is to have it. */
export function routeWorkload(
  { identity }: Pick<InstanceRecord, "identity">,
  generation: number,
  route: Route,
  keySecret: Sealed,
): Workload {
  const { id, namespace, name } = identity;
  return {
    id: workloadId(id, SLOT.route),
    generation,
    owner: id,
    want: "running",
    spec: {
      ...{
        runtime: "proxy",
        namespace,
        name: `${name}-route`,
        kind: "worker",
        image: null,
        image_pull_policy: "Never",
      },
      ...{ registry: null, command: [], working_dir: null, environment: {}, ports: [], mounts: [], network: "bridge" },
      labels: { "lamplighter.instance": id },
      user: { id: null, group: null, privileged: false },
      ...{ cpu_limit_millis: null, memory_limit_bytes: null, cpu_reserved_millis: 0, memory_reserved_bytes: 0 },
      stop_timeout_ms: 0,
      route,
      sealed: { environment: { [REPORT_ENV.keySecret]: keySecret } },
    },
  };
}

/** The route is told to its host whenever it has changed, as one more workload there; this is what its host was told last. */
export type Routing = {
  generation: number;
  host_id: string | null;
  body: string;
  /** As last heard, perhaps of another host. */
  address: string | null;
  /** The host on which it is has said that it answers. */
  is_up: boolean;
};

/** What callers have; null while nothing answers there. */
export const endpointOf = (id: string, { is_up, address }: Routing): string | null =>
  is_up && address !== null ? endpointUrl(address, id) : null;
