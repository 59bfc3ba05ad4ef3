import { getCompileCacheDir } from "node:module";
import { dirname } from "node:path";

/**
 * For the environment of a program that comes with the agent: what Node has kept of compiling modules serves it too. Half of such a program's
 * start is the compiler's otherwise. Each user has a part of its own there; one that may not write there goes without.
 */
export function compiledModules(): { NODE_COMPILE_CACHE?: string } {
  const folder = getCompileCacheDir();
  return folder === undefined ? {} : { NODE_COMPILE_CACHE: dirname(folder) };
}
