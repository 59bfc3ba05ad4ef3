// kill -9 during each action on an instance with its real engine: it comes to rest, with the reason, and answers as its source does.
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import type { InstanceView } from "../../contract/instance.ts";
import { FAILURES } from "../../contract/instance-failure.ts";
import type { KeyCreated } from "../../contract/instance-key.ts";
import { isStable, type StableStatus } from "../../contract/instance-status.ts";
import type { Dialect } from "../engine/shop.ts";
import { parts } from "../engine/sources.ts";
import { random } from "../random.ts";
import { until } from "./client.ts";
import { ask, start, traces } from "./engine-site.ts";
import type { Live } from "./world.ts";

type Victim = "control plane" | "agent" | "engine" | "job";
/** In this order each is possible; where it rests when nothing fails. */
const ACTIONS: [action: string, rests: StableStatus, body?: unknown][] = [
  ["provision", "running"],
  ["rebuild", "running"],
  ["resize", "running", { size: "small" }],
  ["reconfigure", "running"],
  ["redeploy", "running"],
  ["reload", "running"],
  ["pause-replication", "running"],
  ["resume-replication", "running"],
  ["pause", "paused"],
  ["resume", "running"],
  ["terminate", "terminated"],
];
const KNOWN_CODES: readonly string[] = Object.values(FAILURES).flatMap(({ codes }) => codes);
const seed = Number(process.env.SEED ?? Date.now() % 1e6);
const slotOf = ({ workload }: Live): number => Number(workload.split("-").at(-1));
const isEngine = (live: Live): boolean => slotOf(live) === 2 || slotOf(live) === 3;

// A job is a test, a build, or what tidies up at the source. What the control plane and agents do does not depend on the source.
const WHERE: [Dialect, Victim[]][] = [
  ["mysql", ["control plane", "agent"]],
  ["postgres", ["engine", "job"]],
];

/** Each has a control plane, a host and a source of its own. */
const CONCURRENT = { concurrent: true };

for (const [dialect, victims] of WHERE)
  for (const victim of victims)
    test.skipIf(!parts[dialect].available)(`without the ${victim}, at ${dialect}`, CONCURRENT, async (context) => {
      const { int, pick } = random(seed);
      const { cluster, source, id, send, view, when } = await start(context, dialect);
      const { key } = await send<KeyCreated>("POST", `/instances/${id}/keys`, { name: "web" });

      const kills: Record<Victim, () => Promise<void>> = {
        "control plane": async () => {
          await cluster.killPlane();
          await sleep(int(500));
          await cluster.startPlane();
        },
        agent: async () => {
          await cluster.noteBoots();
          await cluster.killAgent("one");
          await sleep(int(500));
          cluster.startAgent("one");
          await cluster.ready("one");
        },
        engine: () => killOne(isEngine, 5),
        job: () => killOne((live) => !isEngine(live), 60),
      };
      /** One of its programs, or of their processes; none, when none comes within so many looks. */
      const killOne = async (is: (live: Live) => boolean, looks: number): Promise<void> => {
        for (let look = 0; look < looks; look++) {
          const pids = (await cluster.liveOf(id)).filter(is).flatMap((live) => live.pids);
          if (pids.length > 0) {
            process.kill(pick(pids), "SIGKILL");
            return;
          }
          await sleep(20);
        }
      };
      const names = async () => (await source.ask("SELECT name FROM users ORDER BY id")).map(({ name }) => ({ name }));
      const answersAsSource = async (at: string): Promise<void> => {
        let said: unknown;
        await until(
          () => `seed ${seed}: ${at}: it does not answer as its source: ${JSON.stringify(said)}`,
          async () => {
            const now = { "min-position": await source.position() };
            said = await ask(await view(), "users(order: id, limit: 1000) { name }", key, now).catch((error) => ({
              ...{ status: 0, body: String(error) },
            }));
            const { status, body } = said as { status: number; body: unknown };
            return status === 200 && JSON.stringify(body) === JSON.stringify(await names());
          },
          30_000,
        );
      };
      const rested = (at: string): Promise<InstanceView> =>
        when(`seed ${seed}: ${at}: it does not come to rest`, ({ status }) => isStable(status), 60_000);

      for (const [step, [action, rests, body]] of ACTIONS.entries()) {
        const at = `${action} without the ${victim}`;
        await source.run(`INSERT INTO users VALUES (${100 + step}, 'during ${action}')`);
        const asked =
          action === "redeploy"
            ? { build_id: (await view()).latest_build?.id }
            : action === "resize"
              ? body
              : undefined;
        await send("POST", `/instances/${id}/${action}`, asked);
        await sleep(int(victim === "job" ? 200 : 1500));
        await kills[victim]();
        const now = await rested(at);
        const { status, last_operation, last_error } = now;
        if (last_operation?.action === action && last_operation.outcome === "failed") {
          // Nothing but the death of what does it may fail it, and that is said.
          expect([victim, KNOWN_CODES], at).toEqual(["job", expect.arrayContaining([last_error?.code])]);
          expect(last_error?.message, at).not.toBe("");
          expect(status, at).toBe(action === "provision" ? "failed" : "running");
        } else expect(status, at).toBe(rests);
        // Whatever ended the engine, its source keeps no log for one that is paused.
        if (rests === "paused") expect(await traces(source), at).toEqual([]);
        if (status === "failed") {
          await send("POST", `/instances/${id}/provision`);
          expect(await rested(`${at}, once more`)).toMatchObject({ status: "running", last_error: null });
        }
        if (rests === "running" && action !== "pause-replication") await answersAsSource(at);
      }
      expect([await cluster.liveOf(id), await traces(source)]).toEqual([[], []]);
      expect(await view()).toMatchObject({ status: "terminated", last_operation: { outcome: "succeeded" } });
    });
