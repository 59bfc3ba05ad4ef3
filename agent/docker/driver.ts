import type { Observation } from "../../contract/workload.ts";
import type { Driver } from "../driver.ts";
import { Engine, engineVersion, findEngine } from "./engine.ts";
import { execute } from "./exec.ts";
import { Files } from "./files.ts";
import { readLogs } from "./logs.ts";
import { Networks } from "./network.ts";
import { Pulls } from "./pull.ts";
import { Raising } from "./raising.ts";
import { reachOf } from "./reach.ts";
import { removeInstance } from "./removal.ts";
import { Marks } from "./roster.ts";
import type { EngineEvent } from "./sighting.ts";
import { Meter } from "./stats.ts";
import { Timeouts } from "./timeout.ts";
import { Tracker } from "./tracker.ts";
import { Watch } from "./watch.ts";

/** A slow look at everything, for what neither an event nor a reconnection told (a half-open connection to a remote engine). */
const SWEEP_MS = 5 * 60_000;

export type DockerDriverOptions = {
  runtime: "docker" | "podman";
  /** Marks what belongs to this host; two agents on one engine must differ in it. */
  hostId: string;
  /** Of the engine; found as the engine's own tools find it when left out. */
  socketPath?: string;
  log?: (line: string) => void;
  /** A folder of the driver's own. */
  stateDir: string;
};

/**
 * The driver for Docker Engine, and for Podman through the API that it has in common with Docker.
 *
 * What it promises beyond `Driver`: `address` is the container's own address on its namespace's network (null on the host's network), never a
 * published port. `exit.code` is always what the engine says, 128 + n after a signal too; `exit.signal` is set only when the engine was asked
 * to send it or the kernel ran out of memory. A command that does not exist is told as `failed`, also when that is known only after `running`
 * was answered. Named volumes and networks stay when containers go.
 */
export function dockerDriver(options: DockerDriverOptions): Driver {
  const { runtime, hostId, socketPath, stateDir } = options;
  const log = options.log ?? (() => undefined);
  const removals = new Marks(stateDir, "removing");
  let found: Engine | null = null;
  let watch: Watch | null = null;
  let sweep: NodeJS.Timeout | undefined;

  const engine = (): Engine => {
    // Before any engine was found, calls go to where one would be and fail with why.
    found ??= new Engine(
      socketPath === undefined ? (process.env.DOCKER_HOST ?? "unix:///var/run/docker.sock") : `unix://${socketPath}`,
    );
    return found;
  };
  const seek = async (): Promise<{ engine: Engine; version: string } | null> => {
    if (found) {
      const version = await engineVersion(found);
      if (version && (runtime === "docker" || version.podman)) return { engine: found, version: version.version };
    }
    const sought = await findEngine(runtime, socketPath);
    if (sought === null) return null;
    found = sought.engine;
    return { engine: sought.engine, version: sought.version.version };
  };

  const files = new Files(stateDir);
  const timeouts = new Timeouts({ engine, marks: new Marks(stateDir, "timed-out"), log });
  const tracker = new Tracker({ hostId, runtime, engine, removals, timeouts, log });
  const raising = new Raising({
    hostId,
    runtime,
    engine,
    tracker,
    networks: new Networks(runtime === "podman"),
    pulls: new Pulls(),
    files,
    unmark: (containerId) => removals.clear(containerId),
    log,
  });
  const meter = new Meter(engine);

  return {
    runtime,

    async detect() {
      return (await seek())?.version ?? null;
    },

    async start(observe: (observation: Observation) => void) {
      tracker.observe = observe;
      const early: EngineEvent[] = [];
      let listed: Awaited<ReturnType<typeof tracker.find>> | null = null;
      const starting = new Watch({
        hostId,
        runtime,
        log,
        engine: async () => (await seek())?.engine ?? null,
        event: (event) => {
          if (listed === null) early.push(event);
          else tracker.event(event);
        },
        compare: async () => {
          if (listed !== null) return tracker.compare();
          listed = await tracker.find();
          for (const event of early) tracker.event(event);
        },
      });
      watch = starting;
      await starting.start();
      sweep = setInterval(() => void tracker.compare().catch(() => undefined), SWEEP_MS);
      sweep.unref();
      return listed ?? [];
    },

    apply: (workload, signal) => raising.raise(workload, signal),

    async remove(id, generation, stopTimeoutMs) {
      await removeInstance({ hostId, runtime, engine, tracker, removals }, id, generation, stopTimeoutMs);
      await files.remove(id, generation);
    },

    logs: (query, signal) => readLogs({ engine, tracker, runtime }, query, signal),

    exec: (id, generation, command, timeoutMs) => execute({ engine, tracker }, id, generation, command, timeoutMs),

    reach: () => reachOf(engine()),

    stats: (ids, reader = "") => {
      const wanted = new Set(ids);
      const running = tracker.roster.all().filter((it) => it.state === "running" && wanted.has(it.id));
      return meter.read(running, reader);
    },

    async close() {
      watch?.close();
      clearInterval(sweep);
      timeouts.close();
      tracker.observe = () => undefined;
    },
  };
}
