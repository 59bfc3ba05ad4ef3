import { runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import type { KeyCreated } from "../../contract/instance-key.ts";
import { REPORT_ENV } from "../../contract/instance-report.ts";
import type { Route } from "../../contract/route.ts";
import type { InstanceObject } from "../../objects/instance/object.ts";
import {
  act,
  agent,
  events,
  instanceOf,
  make,
  mutation,
  programsSay,
  reach,
  report,
  until,
  view,
  WELL,
  withEngines,
  workload,
} from "./instance-world.ts";

withEngines();

const routeOf = (id: string): Route | undefined => workload(id, 4)?.spec.route;
const told = (id: string, what: string, is: (route: Route) => boolean) =>
  until(() => {
    const route = routeOf(id);
    return route !== undefined && is(route) && route;
  }, what);

async function running(over: Record<string, unknown> = {}): Promise<string> {
  programsSay(WELL);
  const id = await make(over);
  await act(id, "provision");
  await reach(id, "running");
  await told(id, "the route leads to an engine", ({ target }) => target !== null);
  return id;
}

/** It has been running for so long without a query that its idle time is over. */
async function pauseIdle(id: string): Promise<void> {
  await runInDurableObject(env.INSTANCE.getByName(id), (_instance: InstanceObject, { storage }) => {
    const { state } = storage.sql.exec<{ state: string }>("SELECT state FROM instance").one();
    const past = JSON.stringify({ ...JSON.parse(state), idle_since: Date.now() - 3_600_000 });
    storage.sql.exec("UPDATE instance SET state = ?", past);
    storage.sql.exec("DELETE FROM vitals");
    storage.sql.exec("UPDATE timer SET due_at = 1 WHERE name = 'deadline'");
  });
  await runDurableObjectAlarm(env.INSTANCE.getByName(id));
  await reach(id, "paused");
}

const asked = async (id: string, waits: boolean, generation?: number): Promise<void> => {
  const route = workload(id, 4);
  if (!route) throw new Error("there is no route");
  await agent.send({ kind: "asked", routes: [{ id: route.id, generation: generation ?? route.generation, waits }] });
};

test("the host is told where queries go, with what its keys are checked with, and of each key", async () => {
  const id = await running();
  const route = routeOf(id);
  expect(route).toMatchObject({ target: { workload_id: `${id}-2`, port: 20_000 }, keys: [], wakes: false });
  expect(workload(id, 4)?.spec.environment[REPORT_ENV.keySecret]).toMatch(/^[\w-]{43}$/);
  expect((await view(id)).endpoint_url).toBe(`http://127.0.0.1:20000/${id}`);
  const made = await instanceOf(id).createKey({ name: "web", rows: {} }, mutation(), []);
  if (!made.ok) throw new Error(made.refusal.detail);
  const { id: key } = JSON.parse(made.value.body) as KeyCreated;
  await told(id, "the key is known", ({ keys }) => keys.some((one) => one.id === key));
  await instanceOf(id).revokeKey(key, mutation(), []);
  await told(id, "the key is gone", ({ keys }) => keys.length === 0);
  await act(id, "redeploy");
  await told(id, "it leads to the next engine", ({ target }) => target?.workload_id === `${id}-3`);
  expect((await events(id)).filter(({ reason }) => reason === "endpoint_changed")).toHaveLength(1);
});

test("a route that went by itself comes back as a new generation; with its instance it goes", async () => {
  const id = await running();
  const before = workload(id, 4)?.generation as number;
  await agent.exit(`${id}-4`, 0);
  await until(() => (workload(id, 4)?.generation ?? 0) > before, "another generation");
  await told(id, "it leads there again", ({ target }) => target !== null);
  await act(id, "terminate");
  expect((await reach(id, "terminated")).endpoint_url).toBe(null);
  await until(() => workload(id, 4) === undefined, "the route is gone");
});

test("a host that takes nothing new is told all the same where the queries go that come there", async () => {
  const id = await running();
  await agent.host.act("cordon", mutation());
  await act(id, "pause");
  const { endpoint_url } = await reach(id, "paused");
  await told(id, "it is paused there", ({ closed }) => closed.code === "paused");
  expect((await view(id)).endpoint_url).toBe(endpoint_url);
  // Nobody else can take it: it has no endpoint until there is room.
  await agent.host.act("drain", mutation());
  await until(() => workload(id, 4) === undefined, "the route has left");
  expect((await view(id)).endpoint_url).toBe(null);
  await agent.host.act("uncordon", mutation());
  await until(async () => (await view(id)).endpoint_url === endpoint_url, "it is there again");
  expect((await events(id)).filter(({ reason }) => reason === "endpoint_changed")).toHaveLength(3);
});

test("paused by its user it stays at its endpoint, and nobody's asking brings it back", async () => {
  const id = await running({ idle_pause: "5m" });
  await act(id, "pause");
  expect((await reach(id, "paused")).endpoint_url).not.toBe(null);
  await told(
    id,
    "the host knows",
    ({ target, closed, wakes }) => target === null && closed.code === "paused" && !wakes,
  );
  await asked(id, true);
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect((await view(id)).status).toBe("paused");
});

test("paused because nobody asked it comes back when somebody waits, once, and only by the present route", async () => {
  const id = await running({ idle_pause: "5m" });
  await pauseIdle(id);
  await told(id, "the host knows", ({ wakes }) => wakes);
  await asked(id, true, 1);
  await asked(id, false);
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect((await view(id)).status).toBe("paused");
  await Promise.all([asked(id, true), asked(id, true), asked(id, true)]);
  const back = await reach(id, "running");
  expect(back.last_operation).toMatchObject({ action: "resume", actor: "idle", outcome: "succeeded" });
  expect((await events(id)).filter(({ reason }) => reason === "wanted")).toHaveLength(1);
  await told(id, "it leads to the engine", ({ target }) => target !== null);
});

test("what its host says of being asked keeps it awake", async () => {
  const id = await running({ idle_pause: "5m" });
  const engine = workload(id, 2);
  if (!engine) throw new Error("no engine");
  const vitals = { replication: "live", snapshot_age_ms: 1, swap_count: 1, row_counts: {}, memory_bytes: 1 } as const;
  await report(engine, { kind: "vitals", vitals: { ...vitals, source_position: "p", last_query_at: null } });
  await asked(id, false);
  await until(
    () =>
      runInDurableObject(
        env.INSTANCE.getByName(id),
        (_instance: InstanceObject, { storage }) =>
          (storage.sql.exec<{ busy_at: number | null }>("SELECT busy_at FROM vitals").one().busy_at ?? 0) >
          Date.now() - 10_000,
      ),
    "it is noted",
  );
});
