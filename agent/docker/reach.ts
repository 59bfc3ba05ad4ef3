import type { Reach } from "../driver.ts";
import { LOCAL } from "../health/place.ts";
import type { Engine } from "./engine.ts";

const known = new WeakMap<Engine, Reach>();

/**
 * How this host reaches the containers of an engine. Their own addresses are on a bridge of the engine's machine: that is another machine when
 * the engine is remote or Docker Desktop's, and another network when it runs without root.
 */
export async function reachOf(engine: Engine): Promise<Reach> {
  const before = known.get(engine);
  if (before) return before;
  const host = engine.local ? LOCAL : new URL(engine.address).hostname;
  if (!engine.local || process.platform !== "linux") return { own: false, host };
  try {
    const info = (await engine.call("info", (docker) => docker.info(), 10_000)) as {
      OperatingSystem?: string;
      SecurityOptions?: string[] | null;
    };
    const rootless = (info.SecurityOptions ?? []).some((option) => option.includes("rootless"));
    const reach: Reach = rootless || info.OperatingSystem === "Docker Desktop" ? { own: false, host } : { own: true };
    known.set(engine, reach);
    return reach;
  } catch {
    return { own: true };
  }
}
