// The control plane is never on the data path: while it is paused, dead and away, every query is answered, and nobody is cut off when it returns.
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { DatabaseLoad } from "./database-load.ts";
import { DatabaseSite } from "./database-site.ts";

let site: DatabaseSite;
beforeAll(async () => {
  site = await DatabaseSite.start({ lostAfterMs: 20_000 });
});
afterAll(() => site?.close());

test("an outage of the control plane of more than 45 s, with the agent killed meanwhile, fails no query and keeps nobody out", async () => {
  const made = await site.create({ name: "steady", idle_timeout: 5 });
  // Nobody is connected to it all the time.
  const rare = await site.create({ name: "rare", idle_timeout: 5 });
  for (const each of [made, rare]) {
    const client = await site.connect(each);
    await client.query("CREATE TABLE load (n int PRIMARY KEY)");
    await site.end(client);
  }
  const load = new DatabaseLoad(site.entrance(made));
  load.write(4);
  load.arrive(400);
  const visits = new DatabaseLoad(site.entrance(rare));
  visits.arrive(1_500);
  await sleep(2_000);
  const began = load.acknowledged.size;
  // It may have slept for a moment while the other one was made.
  const { term: served } = await site.view(made.id);
  await site.cluster.noteBoots();
  site.cluster.plane.kill("SIGSTOP");
  await sleep(20_000);
  await site.cluster.killAgent("one");
  await sleep(1_000);
  site.cluster.startAgent("one");
  await sleep(5_000);
  await site.cluster.killPlane();
  await sleep(22_000);
  const before = load.acknowledged.size;
  await site.cluster.startPlane();
  await site.cluster.ready("one");
  await sleep(12_000);
  await Promise.all([load.end(), visits.end()]);
  expect([load.failures, visits.failures]).toEqual([[], []]);
  expect(before).toBeGreaterThan(began + 500);
  expect(load.acknowledged.size).toBeGreaterThan(before);
  // Until it is clear that nobody answers, each of two questions is given a second.
  expect(Math.max(...load.arrivals, ...visits.arrivals)).toBeLessThan(5_000);
  expect(site.gateway.counters.sessions_unconfirmed_total).toBeGreaterThan(20);
  expect((await site.view(made.id)).term).toBe(served);
  expect(await load.missing()).toEqual([]);
  await Promise.all([site.state(made.id, "stopped"), site.state(rare.id, "stopped")]);
  expect((await site.view(made.id)).term).toBe(served);
  expect(await load.missing()).toEqual([]);
  expect((await site.view(made.id)).last_start?.rung).toBe(3);

  // A start that is under way when the control plane dies: who waits is served by it, and it was one start.
  const asleep = await site.state(rare.id, "stopped");
  const waiting = site.connect(rare, { connectionTimeoutMillis: 70_000 });
  waiting.catch(() => {});
  await sleep(60);
  await site.cluster.killPlane();
  await site.cluster.startPlane();
  const client = await waiting;
  expect((await client.query("SELECT count(*)::int AS rows FROM load")).rows).toEqual([{ rows: 0 }]);
  expect((await site.view(rare.id)).term).toBe(asleep.term + 1);
  await site.end(client);
});
