import { EngineHealth } from "../../contract/engine.ts";
import { adminToken } from "./holder.ts";
import type { InstanceRoute } from "./message.ts";

const ANSWERS_WITHIN_MS = 1_000;

/** How far the engine is that loads, for somebody with a key; null when it does not say. */
export async function progressOf({ loading, key_secret }: InstanceRoute): Promise<EngineHealth["load"] | null> {
  if (loading === null || key_secret === null) return null;
  try {
    const response = await fetch(`http://127.0.0.1:${loading.port}/health`, {
      headers: { authorization: `Bearer ${adminToken(key_secret, loading)}` },
      signal: AbortSignal.timeout(ANSWERS_WITHIN_MS),
    });
    return EngineHealth.parse(await response.json()).load;
  } catch {
    return null;
  }
}
