import type { KeeperAddress } from "../../contract/writer.ts";
import { askKeeper } from "./keeper-request.ts";

const ANSWER_MS = 2_000;

/** Asks each keeper as a start would, with its token: what is wrong with it from here, in words, or null. */
export function checkKeepers(keepers: readonly KeeperAddress[]): Promise<(string | null)[]> {
  return Promise.all(keepers.map(faultOf));
}

async function faultOf(keeper: KeeperAddress): Promise<string | null> {
  try {
    const asked = { method: "GET", signal: AbortSignal.timeout(ANSWER_MS) };
    const health = await askKeeper(keeper, "/health", asked);
    const { keeper: name } = (await health.json()) as { keeper?: string };
    if (name !== keeper.name) return `what answers there calls itself ${name ?? "no keeper"}, not ${keeper.name}`;
    // Nothing is kept under this id: whether the token is good is known before that.
    const response = await askKeeper(keeper, "/databases/check", asked);
    await response.body?.cancel();
    return response.status === 401 ? "it does not take the token that KEEPERS names" : null;
  } catch (error) {
    const { message, cause } = error as Error;
    return cause instanceof Error ? `${message}: ${cause.message}` : message;
  }
}
