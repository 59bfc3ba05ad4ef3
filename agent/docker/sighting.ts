import type Docker from "dockerode";
import type { BoundPort, Exit, Note, Observation } from "../../contract/workload.ts";
import { LABEL, networkName } from "./naming.ts";

/** Which instance a container is, read from its labels. */
export type Identity = { id: string; generation: number; owner: string };

/** What the engine told of one of our containers. */
export type EngineEvent = Identity & {
  containerId: string;
  name: string;
  action: "start" | "die" | "oom" | "kill" | "destroy";
  /** ms since 1970 */
  at: number;
  /** Tells this event from every other, so that one that is told again after a cut is known. */
  key: string;
  /** `seconds.nanoseconds`, to resume from. */
  stamp: string;
  exitCode: number | null;
  signal: number | null;
};

type RawEvent = {
  Type?: string;
  Action?: string;
  status?: string;
  time?: number;
  Actor?: { ID?: string; Attributes?: Record<string, string> };
};

/** The instance that the labels name; null when they are not those of this host and runtime. */
export function identityOf(
  labels: Record<string, string> | null | undefined,
  hostId: string,
  runtime: string,
): Identity | null {
  if (!labels || labels[LABEL.host] !== hostId || (labels[LABEL.runtime] ?? runtime) !== runtime) return null;
  const id = labels[LABEL.workload];
  const generation = Number(labels[LABEL.generation]);
  if (!id || !Number.isInteger(generation) || generation < 1) return null;
  return { id, generation, owner: labels[LABEL.owner] ?? "" };
}

const ACTIONS: Record<string, EngineEvent["action"]> = {
  start: "start",
  die: "die",
  died: "die",
  oom: "oom",
  kill: "kill",
  destroy: "destroy",
  remove: "destroy",
};

/** One line of the event stream; null for what is not ours or changes nothing. `text` is the raw line: its nanoseconds do not fit a number. */
export function engineEvent(raw: unknown, text: string, hostId: string, runtime: string): EngineEvent | null {
  const { Type, Action, status, time, Actor } = raw as RawEvent;
  const action = ACTIONS[Action ?? status ?? ""];
  if (Type !== "container" || action === undefined || !Actor?.ID) return null;
  const attributes = Actor.Attributes ?? {};
  const identity = identityOf(attributes, hostId, runtime);
  if (identity === null) return null;
  const nanos = /"timeNano":(\d{10,})/.exec(text)?.[1] ?? `${time ?? 0}000000000`;
  return {
    ...identity,
    containerId: Actor.ID,
    name: attributes.name ?? "",
    action,
    at: Number(nanos.slice(0, -6)),
    key: `${nanos} ${Actor.ID} ${action}`,
    stamp: `${nanos.slice(0, -9)}.${nanos.slice(-9)}`,
    exitCode: integer(attributes.exitCode ?? attributes.containerExitCode),
    signal: integer(attributes.signal),
  };
}

const integer = (text: string | undefined): number | null =>
  text !== undefined && /^-?\d+$/.test(text) ? Number(text) : null;

const SIGNALS: Record<number, string> = {
  1: "SIGHUP",
  2: "SIGINT",
  3: "SIGQUIT",
  6: "SIGABRT",
  9: "SIGKILL",
  10: "SIGUSR1",
  12: "SIGUSR2",
  15: "SIGTERM",
};

/**
 * How a container ended. `code` is always what the engine says. An engine does not tell a signal from a program that exited with 128 + n, so
 * `signal` is set only on evidence: the kernel's OOM killer, or the engine having been asked to send that very signal.
 */
export function exitOf(code: number | null, oom: boolean, sent: number | null, at: number): Exit {
  const killed = sent !== null && code === 128 + sent ? (SIGNALS[sent] ?? null) : null;
  return {
    code,
    signal: oom && code === 137 ? "SIGKILL" : killed,
    oom,
    at,
    evidence: code === null ? "lost" : "kept",
  };
}

/** The parts of an inspected container that the driver reads. */
export type Inspected = Pick<Docker.ContainerInspectInfo, "Id" | "Name" | "Image" | "Created"> & {
  State: Pick<
    Docker.ContainerInspectInfo["State"],
    "Status" | "Running" | "Paused" | "OOMKilled" | "ExitCode" | "StartedAt" | "FinishedAt"
  >;
  Config: { Labels: Record<string, string>; Image: string; Cmd?: string[] | null };
  HostConfig: { NetworkMode?: string; Memory?: number };
  NetworkSettings: {
    Ports?: Record<string, { HostIp?: string; HostPort?: string }[] | null> | null;
    Networks?: Record<string, { IPAddress?: string; GlobalIPv6Address?: string } | undefined> | null;
  };
};

/** ms since 1970, or null for the engines' "never" (the year 1). */
export function moment(text: string | undefined): number | null {
  const at = text === undefined ? Number.NaN : Date.parse(text);
  return Number.isNaN(at) || at <= 0 ? null : at;
}

export type Standing = "created" | "running" | "exited";

/** Whether it was never started, runs, or ran and ended. Docker keeps `created` for a container whose start failed. */
export function standing({ State }: Inspected): Standing {
  if (State.Running || State.Paused) return "running";
  return moment(State.StartedAt) === null ? "created" : "exited";
}

/**
 * Where the container answers: its address on the namespace's network, which the host reaches too. A published port is not told here, it is
 * in the spec. Null on the host's network, where the container has no address of its own.
 */
export function addressOf(info: Inspected): string | null {
  const networks = info.NetworkSettings.Networks ?? {};
  const own = networks[networkName(info.Config.Labels[LABEL.namespace] ?? "")] ?? Object.values(networks)[0];
  return own?.IPAddress || own?.GlobalIPv6Address || null;
}

const ANY_ADDRESS = new Set(["", "0.0.0.0", "::"]);

/** The ports of the host that the engine bound for it, each once though it is bound by both versions of IP. */
export function boundPorts({ NetworkSettings }: Inspected): BoundPort[] {
  const found = new Map<string, BoundPort>();
  for (const [key, bindings] of Object.entries(NetworkSettings.Ports ?? {})) {
    const [target, protocol] = key.split("/");
    if (protocol !== "tcp" && protocol !== "udp") continue;
    for (const { HostIp = "", HostPort } of bindings ?? []) {
      const published = Number(HostPort);
      if (!Number.isInteger(published) || published < 1) continue;
      const host_ip = ANY_ADDRESS.has(HostIp) ? null : HostIp;
      found.set(`${key} ${published} ${host_ip}`, { target: Number(target), published, host_ip, protocol });
    }
  }
  return [...found.values()].sort((a, b) => a.target - b.target || a.published - b.published);
}

export function runningObservation(
  identity: Identity,
  info: Inspected,
  digest: string | null,
  notes: Note[],
  now: number,
): Observation {
  const { id, generation } = identity;
  const started_at = moment(info.State.StartedAt) ?? now;
  const ports = boundPorts(info);
  return {
    id,
    generation,
    at: now,
    phase: "running",
    started_at,
    address: addressOf(info),
    image_digest: digest,
    notes,
    ...(ports.length > 0 ? { ports } : {}),
  };
}

/** The exit that an inspected container shows. */
export function inspectedExit(info: Inspected, sent: number | null, now: number): Exit {
  return exitOf(info.State.ExitCode, info.State.OOMKilled, sent, moment(info.State.FinishedAt) ?? now);
}

/** The engine's warnings at create as notes: limits that this host's kernel does not hold. */
export function notesOf(warnings: readonly string[] | null | undefined): Note[] {
  return (warnings ?? []).flatMap((message) => {
    if (/swap/i.test(message) && !/memory limit.*discarded/i.test(message)) return [];
    const code = /memory/i.test(message)
      ? "memory_unenforced"
      : /cpu/i.test(message)
        ? "cpu_unenforced"
        : "engine_warning";
    return [{ code, message }];
  });
}
