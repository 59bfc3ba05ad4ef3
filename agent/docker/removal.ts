import { type Engine, EngineError, engineError } from "./engine.ts";
import { LABEL } from "./naming.ts";
import type { Marks } from "./roster.ts";
import type { Tracker } from "./tracker.ts";
import { pause } from "./watch.ts";

/** How long an engine may take to remove, beyond the time that the program has to stop. */
const REMOVE_MS = 60_000;
const RETRIES = 5;

export type RemovalOptions = {
  hostId: string;
  runtime: "docker" | "podman";
  engine: () => Engine;
  tracker: Tracker;
  removals: Marks;
};

/**
 * Stops and removes every container of one generation, with its anonymous volumes; named volumes stay. Nothing there is
 * success. Once begun, whatever ends the containers is our doing, also when this fails half-way and is asked for again.
 */
export async function removeInstance(
  { hostId, runtime, engine, tracker, removals }: RemovalOptions,
  id: string,
  generation: number,
  stopTimeoutMs: number,
): Promise<void> {
  const label = [
    `${LABEL.host}=${hostId}`,
    `${LABEL.runtime}=${runtime}`,
    `${LABEL.workload}=${id}`,
    `${LABEL.generation}=${generation}`,
  ];
  const listed = await engine().call("list containers", (docker) =>
    docker.listContainers({ all: true, filters: { label } }),
  );
  for (const { Id, State } of listed) {
    removals.mark(Id);
    const instance = tracker.roster.container(Id);
    if (instance) instance.intended = true;
    if (State === "paused")
      await engine()
        .call("unpause container", (docker) => docker.getContainer(Id).unpause())
        .catch(() => undefined);
    const asleep = State === "exited" || State === "created" || State === "dead";
    // A forced removal kills at once on Docker; on Podman it gives the container the time that it was created with.
    if (!asleep && (stopTimeoutMs > 0 || runtime === "podman")) await stop(engine(), Id, stopTimeoutMs);
    await erase(engine, Id);
    if (instance) tracker.roster.drop(instance);
    removals.clear(Id);
  }
  const left = tracker.roster.instance(id, generation);
  if (left && !listed.some((it) => it.Id === left.containerId)) tracker.roster.drop(left);
}

/** SIGTERM (or the image's own stop signal), the time it has, SIGKILL. Engines count whole seconds, so a part of one is a whole one. */
export async function stop(engine: Engine, containerId: string, stopTimeoutMs: number): Promise<void> {
  const t = Math.ceil(stopTimeoutMs / 1000);
  try {
    await engine.call(
      "stop container",
      (docker) => docker.getContainer(containerId).stop({ t }),
      stopTimeoutMs + REMOVE_MS,
    );
  } catch (error) {
    const failed = engineError(error);
    // Not running any more, not there any more, or paused and the like: the forced removal that follows deals with each.
    if (failed.status === null) throw failed;
  }
}

/** Removes by force until it is gone; while someone else's removal is under way, waits for that. */
async function erase(engine: () => Engine, containerId: string): Promise<void> {
  const until = Date.now() + REMOVE_MS;
  for (let failures = 0, delay = 10; ; delay = Math.min(delay * 2, 1_000)) {
    try {
      await engine().call(
        "remove container",
        (docker) => docker.getContainer(containerId).remove({ force: true, v: true }),
        REMOVE_MS,
      );
      return;
    } catch (error) {
      const failed = engineError(error);
      if (failed.status === 404) return;
      const underWay = failed.status === 409 && /removal|in progress/i.test(failed.message);
      if (!underWay && ++failures >= RETRIES)
        throw new EngineError(
          `container ${containerId.slice(0, 12)} cannot be removed: ${failed.message}`,
          failed.status,
        );
      if (Date.now() > until) throw failed;
      await pause(delay, new AbortController().signal);
    }
  }
}
