import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { access, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const SOURCE = fileURLToPath(new URL("./shim.ts", import.meta.url));

/**
 * The shim as plain JavaScript, in a file of its own in `folder`. Started from its TypeScript, each shim would carry the compiler: 13 MB and
 * 40 ms more. A copy also keeps the running version apart from the source, which may be updated meanwhile.
 */
export async function shimScript(folder: string): Promise<string> {
  const source = await readFile(SOURCE, "utf8");
  const name = `shim-${createHash("sha256").update(source).digest("hex").slice(0, 12)}.mjs`;
  const path = join(folder, name);
  // Of shims that were killed while they made their pipes.
  for (const left of await readdir(folder)) {
    if (left.startsWith("pipes-")) await rm(join(folder, left), { recursive: true, force: true });
  }
  const isThere = await access(path).then(
    () => true,
    () => false,
  );
  if (isThere) return path;
  // In a process of its own because this function of Node's still announces itself as experimental on stderr.
  const strip =
    'import{stripTypeScriptTypes as s}from"node:module";import{readFileSync as r}from"node:fs";process.stdout.write(s(r(process.argv[1],"utf8")))';
  const { stdout } = await run(process.execPath, ["--no-warnings", "--input-type=module", "-e", strip, "--", SOURCE]);
  await writeFile(`${path}.new`, stdout, { mode: 0o600 });
  await rename(`${path}.new`, path);
  for (const other of await readdir(folder)) {
    if (/^shim-[0-9a-f]{12}\.mjs$/.test(other) && other !== name) await rm(join(folder, other), { force: true });
  }
  return path;
}
