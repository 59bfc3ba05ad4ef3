import type { KeeperAddress } from "../../contract/writer.ts";
import { askKeeper } from "./keeper-request.ts";

const ANSWER_MS = 1_000;
/** Less than the time between two looks at a writer. */
const FRESH_MS = 1_500;

const asked = new Map<string, { at: number; answer: Promise<boolean> }>();

/** Whether a keeper answers at all. It is asked once for all writers of this host. */
export function answers(keeper: KeeperAddress): Promise<boolean> {
  const now = performance.now();
  const known = asked.get(keeper.url);
  if (known !== undefined && now - known.at < FRESH_MS) return known.answer;
  const asking = askKeeper(keeper, "/health", { method: "GET", signal: AbortSignal.timeout(ANSWER_MS) });
  // Read to its end, so that the connection serves for the next time.
  const answer = asking.then(async (response) => (await response.text()) !== "").catch(() => false);
  asked.set(keeper.url, { at: now, answer });
  return answer;
}
