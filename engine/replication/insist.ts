import { SourceFailure, sourceFailure } from "../source/failure.ts";
import { type Backoff, sleep } from "./backoff.ts";

/** Again and again where it may pass. @param failed told of each failure that it goes on after */
export async function insist<T>(
  attempt: () => Promise<T>,
  backoff: Backoff,
  stopped: AbortSignal,
  failed: (failure: SourceFailure) => void,
): Promise<T> {
  for (;;) {
    try {
      return await attempt();
    } catch (thrown) {
      const failure = thrown instanceof SourceFailure ? thrown : sourceFailure(thrown, "initial_load_failed");
      if (!failure.mayPass || stopped.aborted) throw failure;
      failed(failure);
      await sleep(backoff.next(), stopped);
    }
  }
}
