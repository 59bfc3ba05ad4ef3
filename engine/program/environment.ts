import { createHmac } from "node:crypto";
import type { z } from "zod";
import type { SourceConnection } from "../../contract/engine.ts";
import { EngineTask } from "../../contract/engine-task.ts";
import { REPORT_ENV } from "../../contract/instance-report.ts";

export type TaskOf<D extends EngineTask["do"]> = Extract<EngineTask, { do: D }>;

/** What a host gives a program of an instance, in its environment. */
export type Given = {
  task: EngineTask;
  workload: { id: string; generation: number };
  reports: { url: string; token: string };
  password: string;
  /** Of engines alone. */
  keySecret: string | null;
  port: number | null;
};

/** Fails with the name of what is missing, and never with what is there. */
export function givenIn(env: NodeJS.ProcessEnv): Given {
  const get = (name: string): string => {
    const value = env[name];
    if (value === undefined) throw new Error(`${name} is not in the environment: this is started by an agent`);
    return value;
  };
  return {
    task: EngineTask.parse(JSON.parse(get(REPORT_ENV.task))),
    workload: { id: get(REPORT_ENV.workload), generation: Number(get(REPORT_ENV.generation)) },
    reports: { url: get(REPORT_ENV.url).replace(/\/$/, "") + get(REPORT_ENV.path), token: get(REPORT_ENV.token) },
    password: get(REPORT_ENV.password),
    keySecret: env[REPORT_ENV.keySecret] ?? null,
    port: env.PORT === undefined ? null : Number(env.PORT),
  };
}

/** So that there is one to connect to where only the server is asked about. */
const ANY_SCHEMA = { mysql: "information_schema", postgres: "public" } as const;

/** The source of a task as the engine knows it. */
export function sourceOf({ task: { source }, password }: Given, schema: string | null): SourceConnection {
  const { kind, host, port, user, database, tls, ca } = source;
  return {
    ...{ kind, host, port, user, password, schema: schema ?? ANY_SCHEMA[kind] },
    ...(kind === "postgres" ? { database: database ?? "postgres" } : {}),
    tls: ca === null ? { mode: tls } : { mode: tls, ca },
  } satisfies z.input<typeof SourceConnection>;
}

/** What this one engine is steered with. No key can have it: their ids have no space. */
export function adminToken({ workload }: Given, keySecret: string): string {
  return createHmac("sha256", keySecret).update(`admin ${workload.id} ${workload.generation}`).digest("base64url");
}

/** Where `tell.mjs` hands orders to the program of an engine; relative, since a path of a socket must be short. */
export const ordersSocket = ({ workload }: Pick<Given, "workload">): string => `orders-${workload.generation}.sock`;
