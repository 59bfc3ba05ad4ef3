import { createHash } from "node:crypto";
import { mkdir, rename, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { build } from "esbuild";
import type { SourceFinding } from "../../contract/source-schema.ts";
import type { Shape } from "../shape/shape.ts";
import { engineCode } from "./engine-code.ts";
import { openApiOf } from "./openapi.ts";

export type Artifact = {
  /** SHA-256 of the program: the same schema and configuration give the same. */
  id: string;
  /** The program, one file that needs Node and nothing else. */
  path: string;
  bytes: number;
};

/** Generates the engine of a shape and bundles it to `<id>.mjs` in a folder, with `<id>.json` beside it. */
export async function buildEngine(
  shape: Shape,
  folder: string,
  findings: readonly SourceFinding[] = [],
): Promise<Artifact> {
  const sources = dirname(import.meta.dirname);
  const openapi = openApiOf(shape);
  const result = await build({
    stdin: {
      contents: engineCode(shape, openapi, sources),
      resolveDir: sources,
      sourcefile: "engine.js",
      loader: "js",
    },
    absWorkingDir: dirname(sources),
    bundle: true,
    write: false,
    format: "esm",
    platform: "node",
    target: "node22",
    minify: true,
    legalComments: "none",
    logLevel: "silent",
    // The drivers are CommonJS: what they require of Node goes through this.
    banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
    external: ["pg-native"],
  });
  const [file] = result.outputFiles;
  if (file === undefined) throw new Error("esbuild wrote nothing");
  const id = createHash("sha256").update(file.contents).digest("hex");
  const path = join(folder, `${id}.mjs`);
  await mkdir(folder, { recursive: true });
  await writeWhole(path, file.contents);
  const about = { id, bytes: file.contents.length, shape, findings, openapi };
  await writeWhole(join(folder, `${id}.json`), `${JSON.stringify(about, null, 2)}\n`);
  return { id, path, bytes: file.contents.length };
}

async function writeWhole(path: string, contents: string | Uint8Array): Promise<void> {
  const draft = `${path}.${process.pid}`;
  await writeFile(draft, contents);
  await rename(draft, path);
}
