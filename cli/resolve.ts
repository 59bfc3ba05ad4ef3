import { setTimeout as sleep } from "node:timers/promises";
import type { Api } from "./api.ts";
import { Failure, notFound } from "./failure.ts";

type Named = {
  id: string;
  name: string;
  username?: string;
  url?: string;
  deployment?: string;
  namespace?: string | null;
  status?: string;
  rollout?: { role: string };
};

/** The resources of one kind that a user may name: by id, by the beginning of an id, by name, or by `namespace/name`. */
type Kind = { word: string; path: string; prefix: string };

const DEPLOYMENT: Kind = { word: "deployment", path: "/deployments", prefix: "dep_" };
const SCHEDULE: Kind = { word: "schedule", path: "/schedules", prefix: "sched_" };
const DATABASE: Kind = { word: "database", path: "/databases", prefix: "db_" };
const HOST: Kind = { word: "host", path: "/hosts", prefix: "host_" };
const TOKEN: Kind = { word: "token", path: "/tokens", prefix: "tok_" };
const USER: Kind = { word: "user", path: "/users", prefix: "usr_" };
/** Named by its URL, in which a slash says nothing of a namespace. */
const WEBHOOK: Kind = { word: "webhook", path: "/webhooks", prefix: "whk_" };
/** Named by the deployment that it is for. */
const HOOK: Kind = { word: "hook", path: "/hooks", prefix: "hook_" };

const CONFIG: Kind = { word: "config", path: "/configs", prefix: "cfg_" };
const SECRET: Kind = { word: "secret", path: "/secrets", prefix: "sec_" };
const INSTANCE: Kind = { word: "instance", path: "/instances", prefix: "inst_" };
const CONNECTION: Kind = { word: "connection", path: "/connections", prefix: "conn_" };
const VOLUME: Kind = { word: "volume", path: "/volumes", prefix: "vol_" };
/** Those that live in namespaces, where the server can look a name up. */
const NAMESPACED: readonly Kind[] = [DEPLOYMENT, SCHEDULE, DATABASE, CONFIG, SECRET, VOLUME, INSTANCE, CONNECTION];

export const deploymentId = (api: Api, reference: string): Promise<string> => resolve(api, DEPLOYMENT, reference);
export const scheduleId = (api: Api, reference: string): Promise<string> => resolve(api, SCHEDULE, reference);
export const databaseId = (api: Api, reference: string): Promise<string> => resolve(api, DATABASE, reference);
/** @param namespace where to look when the reference does not say it */
export const configId = (api: Api, reference: string, namespace?: string): Promise<string> =>
  resolve(api, CONFIG, reference, namespace);
export const secretId = (api: Api, reference: string, namespace?: string): Promise<string> =>
  resolve(api, SECRET, reference, namespace);
export const volumeId = (api: Api, reference: string, namespace?: string): Promise<string> =>
  resolve(api, VOLUME, reference, namespace);
export const instanceId = (api: Api, reference: string): Promise<string> => resolve(api, INSTANCE, reference);
export const connectionId = (api: Api, reference: string, namespace?: string): Promise<string> =>
  resolve(api, CONNECTION, reference, namespace);
export const hostId = (api: Api, reference: string): Promise<string> => resolve(api, HOST, reference);
export const tokenId = (api: Api, reference: string): Promise<string> => resolve(api, TOKEN, reference);
export const userId = (api: Api, reference: string): Promise<string> => resolve(api, USER, reference);
export const webhookId = (api: Api, reference: string): Promise<string> => resolve(api, WEBHOOK, reference);
export const hookId = (api: Api, reference: string): Promise<string> => resolve(api, HOOK, reference);

const ULID_LENGTH = 26;
/** Fewer characters of an id than this only say when it was made, to the hour or so; a name is meant then. */
const SHORTEST_PREFIX = 6;
const LIST_LAG_MS = 100;

async function resolve(api: Api, kind: Kind, reference: string, within?: string): Promise<string> {
  const text = reference.trim();
  if (text.startsWith(kind.prefix) && text.length === kind.prefix.length + ULID_LENGTH) return text;
  const slash = kind === WEBHOOK ? -1 : text.indexOf("/");
  const namespace = slash > 0 ? text.slice(0, slash) : within;
  const name = slash > 0 ? text.slice(slash + 1) : text;
  const look = async () => {
    // The server can look a name up that lives in a namespace; only the beginning of an id needs the whole list.
    const named = NAMESPACED.includes(kind)
      ? pick(await readAll(api, kind, { namespace, name }), name, kind.prefix)
      : [];
    return named.length > 0 ? named : pick(await readAll(api, kind, { namespace }), name, kind.prefix);
  };
  let found = await look();
  if (found.length === 0) {
    // A list may be some milliseconds behind what has just been made.
    await sleep(LIST_LAG_MS);
    found = await look();
  }
  if (found.length === 1) return (found[0] as Named).id;
  if (found.length === 0 && name.startsWith(kind.prefix) && name.length < kind.prefix.length + SHORTEST_PREFIX)
    throw notFound(kind.word, reference, `Of an id, give ${SHORTEST_PREFIX} characters after ${kind.prefix} at least.`);
  if (found.length === 0) throw notFound(kind.word, reference);
  throw new Failure(`'${reference}' names ${found.length} ${kind.word}s`, {
    details: found
      .slice(0, 10)
      .map((row) => `${row.namespace == null ? row.name : `${row.namespace}/${row.name}`}  ${row.id}`),
    hint: NAMESPACED.includes(kind) ? "Give namespace/name, or the id." : "Give the id.",
  });
}

async function readAll(
  api: Api,
  { path }: Kind,
  filter: { namespace: string | undefined; name?: string },
): Promise<Named[]> {
  const rows: Named[] = [];
  for await (const page of api.pages(path, filter, Number.POSITIVE_INFINITY))
    rows.push(
      ...(JSON.parse(page) as Named[]).map((row) => ({
        ...row,
        name: row.name ?? row.username ?? row.url ?? row.deployment ?? "",
      })),
    );
  return rows;
}

/** Of several versions of a name, the one that holds it: not one that makes way, nor one whose update failed. */
function heldBy(rows: Named[]): Named[] {
  return rows.filter((row) => {
    const others = rows.filter((other) => other !== row && other.namespace === row.namespace);
    const isOver = row.rollout?.role === "parent" || row.status === "failed" || row.status === "crash_loop_back_off";
    return !(isOver && others.some((other) => other.rollout?.role !== "parent" && other.status !== "failed"));
  });
}

/** A name means what lives under it now: what is being deleted counts only when nothing else has the name. Names win over id prefixes. */
function pick(rows: readonly Named[], name: string, prefix: string): Named[] {
  const named = rows.filter((row) => row.name === name);
  const living = named.filter((row) => !["deleted", "removed", "revoked"].includes(row.status ?? ""));
  if (living.length > 0) return heldBy(living);
  if (named.length > 0) return named.slice(0, 1);
  const start = name.startsWith(prefix) ? name : prefix + name;
  return start.length >= prefix.length + SHORTEST_PREFIX ? rows.filter((row) => row.id.startsWith(start)) : [];
}
