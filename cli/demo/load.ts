import { setTimeout as sleep } from "node:timers/promises";

const CLIENTS = 4;
/** How late the clients learn which addresses there are, as from any registry, ms. */
const LOOKS_EVERY_MS = 50;
const PAUSE_MS = 3;

/** What became of the requests that were sent while something else went on. */
export type Served = { served: number; failed: string[] };

/** Sends requests to what serves, one after the other by each of a few clients, until `work` is done. */
export async function underLoad<T>(
  addresses: () => Promise<string[]>,
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<Served & { value: T }> {
  const served: Served = { served: 0, failed: [] };
  let known = await addresses();
  let isOver = false;
  const looking = (async () => {
    for (; !isOver; await sleep(LOOKS_EVERY_MS)) {
      const now = await addresses().catch(() => []);
      if (now.length > 0) known = now;
    }
  })();
  const clients = Array.from({ length: CLIENTS }, async (_, client) => {
    for (let i = client; !isOver; i++, await sleep(PAUSE_MS)) {
      const address = known[i % known.length];
      if (address === undefined) continue;
      try {
        const timeout = AbortSignal.any([signal, AbortSignal.timeout(5000)]);
        const answer = await fetch(`http://${address}/`, { signal: timeout });
        await answer.text();
        if (answer.ok) served.served++;
        else served.failed.push(`${address} answered ${answer.status}`);
      } catch (error) {
        if (!signal.aborted) served.failed.push(`${address}: ${(error as Error).cause ?? error}`);
      }
    }
  });
  let value: T;
  try {
    value = await work();
  } finally {
    isOver = true;
    await Promise.all([looking, ...clients]);
  }
  return { value, ...served };
}
