import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { chmod, copyFile, cp, mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type Account, canReach, canRead } from "./process/account.ts";
import { reachableFolder } from "./reachable-folder.ts";

/** The programs that come with the agent, and what they consist of. Those of the same name that a host's owner put into the PATH come before them. */
const PROJECT = join(import.meta.dirname, "..");
const PROGRAM = join("bin", "lamplighter-engine");
const PARTS = ["package.json", PROGRAM, "engine", "query", "contract"];
export const PACKAGES = ["esbuild", "mysql2", "pg", "yaml", "zod"];

/**
 * The folder of the programs that come with the agent, for a user to run. Where this installation is closed to that user (below root's home, say) it is
 * that of a copy, which is made once per version.
 */
export async function ownPrograms(dataDir: string, account: Account): Promise<string> {
  const isOpen = await Promise.all([
    canReach(join(PROJECT, PROGRAM), account),
    canRead(join(PROJECT, "engine", "program", "main.ts"), account),
    canReach(process.execPath, account),
  ]);
  if (isOpen.every(Boolean)) return join(PROJECT, "bin");
  const target = join(await reachableFolder(dataDir, "programs", account), await version());
  const copy = copies.get(target) ?? copyPrograms(target).finally(() => copies.delete(target));
  copies.set(target, copy);
  await copy;
  return join(target, "bin");
}

/** Copies that are being made, by where to: who asks meanwhile waits for the same one. */
const copies = new Map<string, Promise<void>>();

export async function copyPrograms(target: string): Promise<void> {
  if (existsSync(target)) return;
  const fresh = `${target}.new`;
  await rm(fresh, { recursive: true, force: true });
  await mkdir(dirname(fresh), { recursive: true, mode: 0o711 });
  const parts = [...PARTS, ...closureOf(PACKAGES).map((name) => join("node_modules", name))];
  for (const part of parts) await cp(join(PROJECT, part), join(fresh, part), { recursive: true });
  const node = join(fresh, "node_modules", ".bin", "node");
  await mkdir(dirname(node), { recursive: true });
  await copyFile(process.execPath, node);
  await letRead(fresh);
  await rename(fresh, target);
  await removeOlder(dirname(target));
}

/** All but the two newest: what was started from the one before still runs. */
async function removeOlder(folder: string): Promise<void> {
  const names = (await readdir(folder)).filter((name) => !name.endsWith(".new"));
  const made = await Promise.all(names.map(async (name) => ({ name, at: (await stat(join(folder, name))).mtimeMs })));
  for (const { name } of made.sort((a, b) => b.at - a.at).slice(2)) await rm(join(folder, name), { recursive: true });
}

/** Lets everybody read what is in a folder, and run what its owner may. */
async function letRead(path: string): Promise<void> {
  const { mode } = await stat(path);
  await chmod(path, mode | 0o444 | ((mode & 0o100) === 0 ? 0 : 0o111));
  for (const entry of await readdir(path, { withFileTypes: true })) {
    const inner = join(path, entry.name);
    if (entry.isDirectory()) await letRead(inner);
    else if (entry.isFile()) await chmod(inner, 0o444 | ((await stat(inner)).mode & 0o100 ? 0o111 : 0));
  }
}

/** These packages and all that they depend on, as far as that is installed: what is for other platforms is not. */
function closureOf(names: readonly string[]): string[] {
  const found = new Set<string>();
  const visit = (name: string): void => {
    const about = join(PROJECT, "node_modules", name, "package.json");
    if (found.has(name) || !existsSync(about)) return;
    found.add(name);
    const { dependencies = {}, optionalDependencies = {} } = JSON.parse(readFileSync(about, "utf8"));
    for (const each of [...Object.keys(dependencies), ...Object.keys(optionalDependencies)]) visit(each);
  };
  names.forEach(visit);
  return [...found];
}

/** Changes with what is copied. */
async function version(): Promise<string> {
  const hash = createHash("sha256").update(process.version);
  for (const part of [...PARTS, "package-lock.json"]) {
    const path = join(PROJECT, part);
    if (!existsSync(path)) continue;
    const isFolder = (await stat(path)).isDirectory();
    const files = isFolder ? (await readdir(path, { recursive: true })).sort().map((file) => join(path, file)) : [path];
    for (const file of files) {
      const { size, mtimeMs } = await stat(file);
      hash.update(`${file} ${size} ${mtimeMs}\n`);
    }
  }
  return hash.digest("hex").slice(0, 12);
}
