import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { Failure } from "../failure.ts";

export const PROJECT = fileURLToPath(new URL("../..", import.meta.url));

/** Bundles the Worker for workerd. Answers the path of the one module it becomes. */
export async function bundleWorker(folder: string): Promise<string> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const outfile = join(folder, "index.js");
  try {
    await build({
      entryPoints: [join(PROJECT, "src/worker.ts")],
      outfile,
      absWorkingDir: PROJECT,
      bundle: true,
      format: "esm",
      platform: "neutral",
      target: "es2024",
      mainFields: ["module", "main"],
      conditions: ["workerd", "worker", "browser"],
      external: ["cloudflare:*", "node:*"],
      loader: { ".sql": "text" },
      minifyWhitespace: true,
      keepNames: true,
      logLevel: "silent",
    });
  } catch (error) {
    const { errors } = error as {
      errors?: { text: string; location: { file: string; line: number; column: number } | null }[];
    };
    throw new Failure("the control plane could not be bundled", {
      details: errors?.map(({ text, location }) =>
        location === null ? text : `${location.file}:${location.line}:${location.column + 1}: ${text}`,
      ) ?? [String(error)],
      cause: error,
    });
  }
  return outfile;
}
