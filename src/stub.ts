import { ProblemError } from "./problem.ts";

const ATTEMPTS = 3;
const FIRST_PAUSE_MS = 50;

/** What the runtime says of a failed call to an object. */
type Flagged = { retryable?: boolean; overloaded?: boolean };

/**
 * Calls an object. A broken stub stays broken, so each attempt makes a new one. What the runtime says may be tried again is (every method
 * called through here does the same when it is called twice); an object that has too much to do is left alone, and the caller told to wait.
 */
export async function call<S, R>(stub: () => S, use: (stub: S) => Promise<R>, attempts = ATTEMPTS): Promise<R> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await use(stub());
    } catch (error) {
      const { retryable, overloaded } = error as Flagged;
      if (overloaded || (retryable && attempt >= attempts)) {
        throw new ProblemError({
          code: "overloaded",
          detail: "The object that keeps this resource has too much to do just now.",
        });
      }
      if (!retryable) throw error;
      await new Promise((resolve) => setTimeout(resolve, FIRST_PAUSE_MS * 2 ** (attempt - 1) * (0.5 + Math.random())));
    }
  }
}
