import { setTimeout as sleep } from "node:timers/promises";
import type { Failure } from "../failure.ts";
import { type Child, type Ended, endedText } from "./child.ts";

export type Supervised = { stop(graceMs: number): Promise<void>; child(): Child };

type Care = {
  /** What it is called in a sentence. */
  name: string;
  first: Child;
  start: () => Promise<Child>;
  say: (line: string) => void;
  /** Whether an end was meant, so that it is not started again. */
  isFinal?: (ended: Ended) => boolean;
};

const DELAYS_MS = [0, 1000, 2000, 4000, 8000, 15_000];
/** One that has worked this long is not failing at its start. */
const STEADY_AFTER_MS = 60_000;

/** Starts a child again whenever it dies, later each time, and says so. */
export function supervise({ name, first, start, say, isFinal = () => false }: Care): Supervised {
  let child = first;
  let since = Date.now();
  const stopping = new AbortController();
  const care = (async () => {
    for (let failures = 0; ; ) {
      const ended = await child.exited;
      if (stopping.signal.aborted) return;
      if (isFinal(ended)) return say(`the ${name} has ended, and is not started again: ${child.logTail(1)}`);
      failures = Date.now() - since > STEADY_AFTER_MS ? 0 : failures;
      const delay = DELAYS_MS[Math.min(failures++, DELAYS_MS.length - 1)] as number;
      say(`the ${name} ${endedText(ended)}; starting it again${delay === 0 ? "" : ` in ${delay / 1000} s`}`);
      await sleep(delay, undefined, { signal: stopping.signal }).catch(() => undefined);
      if (stopping.signal.aborted) return;
      since = Date.now();
      try {
        child = await start();
        say(`the ${name} is back (process ${child.pid})`);
      } catch (error) {
        if (stopping.signal.aborted) return;
        const { message, details = [] } = error as Partial<Failure>;
        say([message ?? String(error), ...details].join("\n  "));
      }
    }
  })();
  return {
    child: () => child,
    stop: async (graceMs) => {
      stopping.abort();
      await child.stop(graceMs);
      await care;
    },
  };
}
