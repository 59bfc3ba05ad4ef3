import { createHash } from "node:crypto";
import { mkdir, rename, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { build, transform } from "esbuild";
import type { SourceFinding } from "../../contract/source-schema.ts";
import type { Shape } from "../shape/shape.ts";
import { CALLED, engineCode, programCode, tableClasses } from "./engine-code.ts";
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
  const openapi = openApiOf(shape);
  const [program, classes] = await Promise.all([bundledProgram(), minified(tableClasses(shape))]);
  const contents = Buffer.from(`${BANNER}\n${engineCode(shape, openapi, program, classes)}`);
  const id = createHash("sha256").update(contents).digest("hex");
  const path = join(folder, `${id}.mjs`);
  await mkdir(folder, { recursive: true });
  await writeWhole(path, contents);
  const about = { id, bytes: contents.length, shape, findings, openapi };
  await writeWhole(join(folder, `${id}.json`), `${JSON.stringify(about, null, 2)}\n`);
  return { id, path, bytes: contents.length };
}

/** The drivers are CommonJS: what they require of Node goes through this. */
const BANNER = 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);';
const MINIFY = { platform: "node", target: "node22", minify: true, legalComments: "none", logLevel: "silent" } as const;

/** As an expression: what is the same in every engine is bundled alone, as a bundler takes more than twice as long for twice as many classes. */
async function bundledProgram(): Promise<string> {
  const sources = dirname(import.meta.dirname);
  const result = await build({
    ...MINIFY,
    stdin: { contents: programCode(sources), resolveDir: sources, sourcefile: "program.js", loader: "js" },
    absWorkingDir: dirname(sources),
    bundle: true,
    write: false,
    format: "iife",
    globalName: "program",
    external: ["pg-native"],
  });
  const [file] = result.outputFiles;
  if (file === undefined) throw new Error("esbuild wrote nothing");
  return `(() => { ${file.text}\nreturn program; })()`;
}

/** So many classes at a time: each for itself would be slow, and all of them would be in memory at once. */
const TOGETHER = 100;

async function minified(classes: readonly string[]): Promise<string[]> {
  const portions: string[] = [];
  for (let at = 0; at < classes.length; at += TOGETHER) portions.push(classes.slice(at, at + TOGETHER).join("\n"));
  const done: string[] = [];
  for (const portion of portions) done.push((await transform(portion, { ...MINIFY, define: CALLED })).code);
  return done;
}

async function writeWhole(path: string, contents: string | Uint8Array): Promise<void> {
  const draft = `${path}.${process.pid}`;
  await writeFile(draft, contents);
  await rename(draft, path);
}
