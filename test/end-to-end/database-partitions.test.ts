// The host of a writer is cut off, or only from the control plane, or stands still: another one takes over, and never do two acknowledge.
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, type TestContext, test } from "vitest";
import { processesOf } from "../../agent/postgres/postmaster.ts";
import { watchdogOf } from "../../agent/postgres/watchdog.ts";
import { WRITER_LEASE_MS } from "../../contract/writer.ts";
import { WRITER_LEASE_MARGIN_MS } from "../../contract/writer-task.ts";
import { requires } from "../requires.ts";
import { until } from "./client.ts";
import { DatabaseLoad } from "./database-load.ts";
import { DatabaseSite, type Made } from "./database-site.ts";
import { DirectClient } from "./direct-client.ts";
import { Door, Network } from "./network.ts";

const namespaces = await requires("namespaces");
const LOST_AFTER_MS = 6_000;

/** A database whose writer is on the host `one`, in a network of its own; and another host. */
class Scene {
  readonly network = Network.make();
  site!: DatabaseSite;
  made!: Made;
  load!: DatabaseLoad;
  direct!: DirectClient;
  door!: Door;
  #stopped: readonly number[] = [];

  static async set({ onTestFinished }: TestContext): Promise<Scene> {
    const scene = new Scene();
    onTestFinished(() => scene.#close());
    const { network } = scene;
    scene.site = await DatabaseSite.start({ hosts: [], lostAfterMs: LOST_AFTER_MS, keeperHost: network.outside });
    const { cluster } = scene.site;
    scene.door = await Door.open(network.outside, () => Number(new URL(cluster.url).port));
    const inside = {
      run: network.run,
      url: `http://${network.outside}:${scene.door.port}`,
      address: network.inside,
    };
    await cluster.join({ name: "one", runtimes: ["postgres"], inside });
    scene.made = await scene.site.create({ name: "shared", idle_timeout: 0 });
    const client = await scene.site.connect(scene.made);
    await client.query("CREATE TABLE load (n int PRIMARY KEY)");
    await scene.site.end(client);
    await cluster.join({ name: "two", runtimes: ["postgres"] });
    const { role: user, password, name: database } = scene.made;
    const { backend_addr } = await scene.site.view(scene.made.id);
    const [host = "", port] = (backend_addr ?? "").split(":");
    scene.direct = new DirectClient(network.run, { host, port: Number(port), user, password, database });
    scene.load = new DatabaseLoad(scene.site.entrance(scene.made));
    scene.load.write(3);
    await until(
      () => "not both kinds of clients are served",
      async () => {
        const { said } = scene.direct;
        return scene.load.acknowledged.size > 50 && said.filter(({ what }) => what === "wrote").length > 10;
      },
    );
    return scene;
  }

  /** Until clients are let in to the next writer. Answers when that was, at the latest. */
  async takenOver(): Promise<{ at: number; ms: number }> {
    const began = Date.now();
    await until(
      () => `nobody took over\n${this.site.logs()}`,
      async () => {
        const { state, term } = await this.site.view(this.made.id);
        return state === "ready" && term > 1;
      },
      90_000,
      20,
    );
    return { at: Date.now(), ms: Date.now() - began };
  }

  /** Every process of the writer, its agent, and who ends it when its lease is over. */
  async processes(): Promise<number[]> {
    const root = `${this.site.cluster.folder}/one/postgres`;
    const watchdog = await watchdogOf(root);
    const own = processesOf(`${this.site.folder("one", this.made.id)}/pgdata`);
    return [this.site.cluster.agent("one").pid, watchdog?.pid ?? 0, ...own].filter((pid) => pid > 0);
  }

  stop(pids: readonly number[]): void {
    for (const pid of pids) process.kill(pid, "SIGSTOP");
    this.#stopped = pids;
  }

  goOn(): void {
    for (const pid of this.#stopped) process.kill(pid, "SIGCONT");
    this.#stopped = [];
  }

  /** Nothing that anybody was told is missing; the old writer is gone, and stays so with its host back. */
  async verify(): Promise<void> {
    await sleep(3_000);
    await this.load.end();
    this.direct.end();
    for (const { n } of this.direct.of("wrote")) this.load.acknowledged.add(n);
    expect(await this.load.missing()).toEqual([]);
    await this.site.cluster.ready("one");
    await until(
      () => "the old writer is not gone",
      async () => !(await this.site.isRunning("one", this.made.id)),
    );
    const { state, host_id } = await this.site.view(this.made.id);
    const two = (await this.site.cluster.client.hosts()).find(({ name }) => name === "two");
    expect([state, host_id]).toEqual(["ready", two?.id]);
  }

  async #close(): Promise<void> {
    this.direct?.end();
    this.goOn();
    this.network.heal();
    await this.load?.end().catch(() => {});
    await this.site?.close();
    this.door?.close();
    this.network.close();
  }
}

const LEASE_MS = WRITER_LEASE_MS + WRITER_LEASE_MARGIN_MS;

/** Each has a site of its own, and waits for leases to be over. */
describe.concurrent("the host of a writer", () => {
  const withNetwork = test.skipIf(!namespaces.available);

  withNetwork(
    "cut off from everybody, the writer ends with its lease before the next one is opened",
    async (context) => {
      const scene = await Scene.set(context);
      scene.network.cut();
      const cutAt = Date.now();
      const { at, ms } = await scene.takenOver();
      expect(ms).toBeGreaterThan(LOST_AFTER_MS);
      // Reads beside the writer went on, until the lease was over and no longer.
      const reads = scene.direct.of("read").map((said) => said.at);
      expect(Math.max(...reads)).toBeGreaterThan(cutAt + 5_000);
      expect(Math.max(...reads)).toBeLessThan(cutAt + WRITER_LEASE_MS);
      expect(Math.max(...reads)).toBeLessThan(at);
      // What had been sent before the cut may have been answered just after.
      expect(scene.direct.of("wrote").filter((said) => said.at > cutAt + 200)).toEqual([]);
      scene.network.heal();
      await scene.verify();
    },
  );

  withNetwork(
    "cut off from the control plane only, the writer goes on on its keeper's word until the keeper promises another",
    async (context) => {
      const scene = await Scene.set(context);
      scene.door.shut();
      const cutAt = Date.now();
      const { at, ms } = await scene.takenOver();
      expect(ms).toBeGreaterThan(LOST_AFTER_MS);
      expect(ms).toBeLessThan(LOST_AFTER_MS + 2 * LEASE_MS + 20_000);
      const reads = scene.direct.of("read").map((said) => said.at);
      expect(Math.max(...reads)).toBeLessThan(at);
      // Commits went on beyond the moment at which the host was lost to the control plane: none was acknowledged once the keeper had promised.
      const wrote = scene.direct.of("wrote").map((said) => said.at);
      expect(Math.max(...wrote)).toBeGreaterThan(cutAt + LOST_AFTER_MS - 2_000);
      expect(Math.max(...wrote)).toBeLessThan(at);
      scene.door.reopen();
      await scene.verify();
    },
  );

  withNetwork(
    "standing still as a whole, and let go on when another has taken over, it acknowledges nothing and is ended at once",
    async (context) => {
      const scene = await Scene.set(context);
      const pids = await scene.processes();
      expect(pids.length).toBeGreaterThan(6);
      scene.stop(pids);
      await scene.takenOver();
      const wokenAt = Date.now();
      scene.goOn();
      await scene.verify();
      // An answer that was on its way when everything stood still is of the time before; one for each session.
      expect(scene.direct.of("wrote").filter(({ at }) => at >= wokenAt).length).toBeLessThanOrEqual(1);
      const reads = scene.direct.of("read").filter(({ at }) => at >= wokenAt);
      expect(Math.max(0, ...reads.map(({ at }) => at - wokenAt))).toBeLessThan(1_500);
    },
  );

  test("silent, and its writer goes on: another takes over with every commit, and the old writer is gone by then", async () => {
    const hosts = ["one", "two"].map((name) => ({ name, runtimes: ["postgres" as const] }));
    const pair = await DatabaseSite.start({ hosts, lostAfterMs: LOST_AFTER_MS });
    try {
      const made = await pair.create({ name: "moved", idle_timeout: 0 });
      const client = await pair.connect(made);
      await client.query("CREATE TABLE t (n int); INSERT INTO t VALUES (1)");
      const { host_id } = await pair.view(made.id);
      const first = (await pair.cluster.client.hosts()).find(({ id }) => id === host_id)?.name as string;
      // The agent is silent, and its writer goes on: as on a host that is cut off.
      pair.cluster.agent(first).kill("SIGSTOP");
      await client.query("INSERT INTO t VALUES (2)");
      // Whoever was there has lost its session by then, or lost it with the old writer's lease.
      await pair.state(made.id, "booting", "error", "stopped");
      await pair.end(client).catch(() => {});
      const again = await pair.connect(made, { connectionTimeoutMillis: 60_000 });
      expect((await again.query("SELECT n FROM t ORDER BY n")).rows).toEqual([{ n: 1 }, { n: 2 }]);
      const after = await pair.view(made.id);
      expect([after.state, after.host_id === host_id, after.last_start?.rung]).toEqual(["ready", false, 7]);
      expect(await pair.isRunning(first, made.id)).toBe(false);
      await pair.end(again);
    } finally {
      await pair.close();
    }
  });
});
