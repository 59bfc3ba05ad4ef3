import { runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect } from "vitest";
import type { DatabaseView } from "../../contract/database.ts";
import type { JournalEvent } from "../../contract/event.ts";
import { newId } from "../../contract/id.ts";
import type { Mutation } from "../../contract/request.ts";
import { credentials } from "../../contract/scram.ts";
import type { Observation, Workload } from "../../contract/workload.ts";
import type { DatabaseObject } from "../../objects/database/object.ts";
import type { NamespaceObject } from "../../objects/namespace/object.ts";
import { remote } from "../../objects/remote.ts";
import { SimulatedAgent } from "./simulated-agent.ts";

/** Databases as their hosts see them. */

export const SPACE = "databases";
export const SALT = { salt: new Uint8Array(16), iterations: 4096 };
export const mutation = (over: Partial<Mutation> = {}): Mutation => ({
  ...{ actor: "tok_test", request_id: "req_test", if_match: null, idempotency: null, ...over },
});
export const stub = (id: string) => env.DATABASE.getByName(id);
export const database = (id: string) => remote<DatabaseObject>(env.DATABASE, id);
export const key = () => ({ idempotency: { key: crypto.randomUUID(), fingerprint: "f" } });

export async function create(
  over: { name?: string; placement?: Record<string, string>; id?: string } = {},
  by = mutation(),
) {
  const id = over.id ?? newId("database", Date.now());
  const { verifier } = await credentials(newId("credential", Date.now()), "first", SALT);
  const name = over.name ?? `d_${crypto.randomUUID().replaceAll("-", "")}`;
  const identity = {
    ...{ id, namespace: SPACE, name, role: `u_${id.slice(3)}`, created_at: Date.now() },
    ...{ placement: over.placement ?? { nobody: "has-this" }, restored_from: null },
  };
  const settings = { profile: "L1" as const, idle_timeout: 5, labels: {}, allowed_addresses: [] };
  const draft = { identity, settings, scram: { salt: "AAAA", iterations: 4096 }, verifier, sealed: null };
  return { id, name, reply: await remote<NamespaceObject>(env.NAMESPACE, SPACE).createDatabase(draft, by, true) };
}

export async function view(id: string): Promise<DatabaseView> {
  const reply = await database(id).read([]);
  if (!reply.ok) throw new Error(reply.refusal.detail);
  return JSON.parse(reply.value.body) as DatabaseView;
}
export const state = async (id: string): Promise<string> => (await view(id)).state;
/** An alarm that was set for something that is over by now rings once in vain. */
export const restsWithout = async (id: string) => {
  await runDurableObjectAlarm(stub(id));
  expect(await alarmOf(id)).toBeNull();
};
export const alarmOf = (id: string) => runInDurableObject(stub(id), (_object, context) => context.storage.getAlarm());
export async function reasons(id: string): Promise<string[]> {
  const reply = await database(id).events([], null, 1000);
  if (!reply.ok) throw new Error(reply.refusal.detail);
  const events = reply.value.map((text) => JSON.parse(text) as JournalEvent).reverse();
  expect(events.map(({ seq }) => seq)).toEqual(events.map((_, i) => i + 1));
  return events.map(({ reason, new_status }) => new_status ?? reason);
}
export async function until(condition: () => Promise<boolean> | boolean, what: string): Promise<void> {
  const deadline = performance.now() + 15_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`not within 15 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

export const upAt = ({ id, generation }: Workload, address = "127.0.0.1:20000"): Observation => ({
  ...{
    phase: "running",
    id,
    generation,
    at: Date.now(),
    started_at: Date.now(),
    address,
    image_digest: null,
    notes: [],
  },
  start: {
    rung: 3,
    why: "test",
    damage: null,
    phases: { spawn: 12 },
    restored_bytes: 0,
    older_lease_ms: 0,
    certificate: null,
    credential: "none",
  },
});
export const done = ({ id, generation }: Workload): Observation => {
  const at = Date.now();
  return { phase: "exited", id, generation, at, exit: { code: 0, signal: null, oom: false, at, evidence: "kept" } };
};

/** A host with PostgreSQL that only this test's databases are placed on. */
export async function hostFor(): Promise<{
  agent: SimulatedAgent;
  placement: Record<string, string>;
  starts: Workload[];
}> {
  const placement = { only: crypto.randomUUID() };
  const agent = await SimulatedAgent.enrol("pg", placement);
  agent.runtime = "postgres";
  const starts: Workload[] = [];
  agent.behaviour = (workload) => {
    if (workload.spec.writer?.purpose === "discard") return done(workload);
    starts.push(workload);
    return upAt(workload);
  };
  agent.answers = (question) => (question.verb === "stop_unused" ? { clients: 0 } : { installed: "x" });
  await agent.connect();
  await until(async () => {
    const reply = await agent.host.read();
    return reply.ok && (JSON.parse(reply.value.body) as { status: string }).status === "ready";
  }, "the host is ready");
  return { agent, placement, starts };
}
