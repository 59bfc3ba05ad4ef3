import { createHash } from "node:crypto";
import { type Engine, EngineError, engineError } from "./engine.ts";
import { type Failure, pullFailure } from "./failure.ts";
import { pullTarget, type RegistryAuth } from "./image.ts";
import { JsonLines, type PullEvent, PullProgress } from "./progress.ts";

/** A registry that does not answer makes the engine try for a while before it says so. */
const ANSWER_MS = 5 * 60_000;

type Told = (percent: number | null) => void;
type Job = { done: Promise<Failure | null>; listeners: Set<Told>; abort: AbortController; percent: number | null };

/**
 * Pulls images. Those who want the same image with the same credentials at one moment share one pull, which is broken off when the last of
 * them no longer wants it.
 */
export class Pulls {
  readonly #jobs = new Map<string, Job>();

  /**
   * Answers null when the image is here, else why it is not. Throws an `EngineError` when the engine went away in the middle.
   * @param told hears how far it is, at once and then on every change
   */
  async pull(
    engine: Engine,
    image: string,
    auth: RegistryAuth | null,
    signal: AbortSignal,
    told: Told,
  ): Promise<Failure | null> {
    const key = `${image} ${auth === null ? "" : createHash("sha256").update(JSON.stringify(auth)).digest("hex")}`;
    const job = this.#jobs.get(key) ?? this.#begin(engine, image, auth, key);
    // A set tells equal functions apart only by identity, and each waiter needs its own place in it.
    const listener: Told = (percent) => told(percent);
    job.listeners.add(listener);
    told(job.percent);
    let stop: () => void = () => undefined;
    const aborted = new Promise<Failure>((resolve) => {
      stop = () => resolve({ kind: "error", reason: "aborted", message: "no longer wanted" });
      signal.addEventListener("abort", stop, { once: true });
      if (signal.aborted) stop();
    });
    try {
      return await Promise.race([job.done, aborted]);
    } finally {
      signal.removeEventListener("abort", stop);
      job.listeners.delete(listener);
      if (job.listeners.size === 0) {
        if (this.#jobs.get(key) === job) this.#jobs.delete(key);
        job.abort.abort();
      }
    }
  }

  #begin(engine: Engine, image: string, auth: RegistryAuth | null, key: string): Job {
    const job: Job = { done: Promise.resolve(null), listeners: new Set(), abort: new AbortController(), percent: null };
    job.done = this.#run(engine, image, auth, job).finally(() => {
      if (this.#jobs.get(key) === job) this.#jobs.delete(key);
    });
    // When every waiter has left by its own signal, nobody is there to hear how it ended.
    job.done.catch(() => undefined);
    this.#jobs.set(key, job);
    return job;
  }

  async #run(engine: Engine, image: string, auth: RegistryAuth | null, job: Job): Promise<Failure | null> {
    const progress = new PullProgress();
    try {
      const stream = await engine.call(
        "pull",
        (docker) => {
          const target = pullTarget(image);
          return auth === null ? docker.createImage(target) : docker.createImage(auth, target);
        },
        ANSWER_MS,
      );
      const abort = (): void => void (stream as unknown as { destroy: () => void }).destroy();
      job.abort.signal.addEventListener("abort", abort, { once: true });
      if (job.abort.signal.aborted) abort();
      const lines = new JsonLines<PullEvent>();
      for await (const chunk of stream) {
        for (const { value } of lines.take(chunk as Buffer)) progress.take(value);
        const percent = progress.percent();
        if (percent !== job.percent) {
          job.percent = percent;
          for (const listener of [...job.listeners]) listener(percent);
        }
      }
    } catch (error) {
      const failed = engineError(error);
      if (failed.status === null) throw new EngineError(`the pull of '${image}' was cut off: ${failed.message}`, null);
      return pullFailure(image, failed.message, auth !== null);
    }
    return progress.error === null ? null : pullFailure(image, progress.error, auth !== null);
  }
}
