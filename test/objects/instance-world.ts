import { env } from "cloudflare:workers";
import { afterAll, afterEach, beforeAll, expect, vi } from "vitest";
import { ConnectionCreate, connectionSpec } from "../../contract/connection.ts";
import { type EngineTask, EngineTask as Task } from "../../contract/engine-task.ts";
import type { JournalEvent } from "../../contract/event.ts";
import { newId } from "../../contract/id.ts";
import type { InstanceView } from "../../contract/instance.ts";
import type { InstanceAction } from "../../contract/instance-action.ts";
import { InstanceCreate, specOf } from "../../contract/instance-check.ts";
import { REPORT_ENV, type ReportBody } from "../../contract/instance-report.ts";
import type { Mutation } from "../../contract/request.ts";
import type { Workload } from "../../contract/workload.ts";
import type { BuildQueueObject } from "../../objects/build-queue/object.ts";
import type { ConnectionObject } from "../../objects/connection/object.ts";
import type { ActInput } from "../../objects/instance/creation.ts";
import type { InstanceObject } from "../../objects/instance/object.ts";
import { remote } from "../../objects/remote.ts";
import { built, GOOD_TEST } from "../decide/driven-instance.ts";
import { running, SimulatedAgent } from "./simulated-agent.ts";

/** Instances as their host sees them: an agent whose programs say what a test lets them say. */

const SPACE = "instances";
export const mutation = (over: Partial<Mutation> = {}): Mutation => ({
  actor: "tok_test",
  request_id: `req_${crypto.randomUUID()}`,
  if_match: null,
  idempotency: null,
  ...over,
});
export const fresh = () => `i${crypto.randomUUID().slice(0, 12)}`;
export const instanceOf = (id: string) => remote<InstanceObject>(env.INSTANCE, id);
export const queueOf = (region: string) => remote<BuildQueueObject>(env.BUILD_QUEUE, region);

export let agent: SimulatedAgent;
/** What the programs say, by what they do; null keeps silent. */
let says: (task: EngineTask) => ReportBody | null = () => null;
export function programsSay(what: typeof says): void {
  says = what;
}
/** Every task that was started, by workload id and generation. */
const tasks = new Map<string, EngineTask>();
/** Reports on their way: they are sent as the programs would. */
let reporting: Promise<unknown> = Promise.resolve();
export const reported = (): Promise<unknown> => reporting;

const taskOf = (workload: Workload): EngineTask =>
  Task.parse(JSON.parse(workload.spec.environment[REPORT_ENV.task] as string));
export const WELL = (task: EngineTask): ReportBody =>
  task.do === "test"
    ? { kind: "tested", test: GOOD_TEST }
    : task.do === "build"
      ? built()
      : { kind: "loaded", rows: 7, tables: 3 };

export async function report(workload: Workload, body: ReportBody) {
  const { operation } = taskOf(workload);
  const said = { workload_id: workload.id, generation: workload.generation, operation, body };
  return workload.owner.startsWith("conn_")
    ? remote<ConnectionObject>(env.CONNECTION, workload.owner).report(said)
    : instanceOf(workload.owner).report(said);
}

/** One host with an agent for the tests of a file. Call it at the top. */
export function withEngines(): void {
  beforeAll(async () => {
    agent = await SimulatedAgent.enrol("engines");
    agent.runtime = "process";
    agent.capacity = { memory_bytes: 1024 ** 4, cpu_millis: 1_000_000 };
    agent.heard = (workload) => {
      // Whatever else waits for a host with processes, of other files, comes here too.
      if (workload.want !== "running" || workload.spec.environment[REPORT_ENV.task] === undefined) return;
      const task = taskOf(workload);
      if (tasks.has(`${workload.id}/${workload.generation}`)) return;
      tasks.set(`${workload.id}/${workload.generation}`, task);
      const body = says(task);
      if (body !== null) reporting = reporting.then(() => report(workload, body));
    };
    agent.answers = () => ({ exit_code: 0, stdout: "", stderr: "", truncated: false });
    await agent.connect();
  });
  afterAll(async () => {
    await agent.host.remove(mutation(), true);
    agent.disconnect();
  });
  afterEach(() => {
    says = () => null;
    agent.behaviour = (workload) => running(workload);
    vi.useRealTimers();
  });
}

export async function connection(): Promise<string> {
  const id = newId("connection", Date.now());
  const body = ConnectionCreate.parse({
    name: fresh(),
    namespace: SPACE,
    host: "db",
    user: "u",
    password: "pw",
    schemas: ["shop"],
  });
  const identity = { id, name: body.name, namespace: SPACE, database_id: null, created_at: Date.now() };
  const made = await remote<ConnectionObject>(env.CONNECTION, id).create({
    identity,
    spec: connectionSpec(body),
    password: body.password ?? "",
    mutation: mutation(),
    mayCreateNamespace: true,
  });
  if (!made.ok) throw new Error(made.refusal.detail);
  return id;
}

export async function make(over: Record<string, unknown> = {}): Promise<string> {
  const id = newId("instance", Date.now());
  const region = fresh();
  const body = InstanceCreate.parse({
    name: fresh(),
    namespace: SPACE,
    connection_id: await connection(),
    schema: "shop",
    region,
    ...over,
  });
  const { name, namespace, connection_id, schema } = body;
  const made = await instanceOf(id).create({
    identity: { id, name, namespace, connection_id, schema, region: body.region, created_at: Date.now() },
    spec: specOf(body),
    mutation: mutation(),
    mayCreateNamespace: true,
  });
  if (!made.ok) throw new Error(made.refusal.detail);
  return id;
}

export async function act(id: string, action: InstanceAction, input: ActInput = {}): Promise<void> {
  const reply = await instanceOf(id).act(action, input, mutation(), []);
  if (!reply.ok) throw new Error(reply.refusal.detail);
}
export async function view(id: string): Promise<InstanceView> {
  const reply = await instanceOf(id).read([]);
  if (!reply.ok) throw new Error(reply.refusal.detail);
  return JSON.parse(reply.value.body);
}
export async function until<T>(
  look: () => Promise<T | null | undefined | false> | T | null | undefined | false,
  what: string,
): Promise<NonNullable<T>> {
  const deadline = performance.now() + 15_000;
  for (;;) {
    const found = await look();
    if (found) return found as NonNullable<T>;
    if (performance.now() > deadline) throw new Error(`not within 15 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
export const reach = (id: string, status: string) =>
  until(async () => {
    const present = await view(id);
    return present.status === status && present;
  }, status);
export async function events(id: string): Promise<JournalEvent[]> {
  const reply = await instanceOf(id).events([], null, 1000);
  if (!reply.ok) throw new Error(reply.refusal.detail);
  const all = reply.value.map((text) => JSON.parse(text) as JournalEvent).reverse();
  expect(all.map(({ seq }) => seq)).toEqual(all.map((_, i) => i + 1));
  return all;
}
export const moves = async (id: string) =>
  (await events(id)).filter(({ reason }) => reason === "state_transition").map(({ new_status }) => new_status);
export const engines = (id: string) =>
  [...agent.workloads.values()].filter(({ workload }) => /-[23]$/.test(workload.id) && workload.owner === id);
export const workload = (id: string, slot: number) => agent.workloads.get(`${id}-${slot}`)?.workload;
export const waitFor = (id: string, slot: number) => until(() => workload(id, slot) ?? null, `workload ${slot}`);
