import { execFile } from "node:child_process";
import { existsSync, readdirSync, realpathSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { promisify } from "node:util";
import { NotStarted } from "./not-started.ts";

const run = promisify(execFile);

export const OLDEST_MAJOR = 15;
export const NEWEST_MAJOR = 18;

/** PostgreSQL's programs in one folder of this host. */
export type Installation = {
  folder: string;
  major: number;
  version: string;
  /** They are in a container image instead. */
  image?: string;
};

/** Where the packages of Debian and Ubuntu, of PostgreSQL's own repository for Red Hat's, and of Homebrew put each version. */
const PLACES: [folder: string, within: string][] = [
  ["/usr/lib/postgresql", "bin"],
  ["/usr", "bin"],
  ["/opt/homebrew/opt", "bin"],
  ["/usr/local/opt", "bin"],
];

/** The usable installations of this host, newest first. Debian keeps them off the PATH. */
export async function findInstallations(env: NodeJS.ProcessEnv = process.env): Promise<Installation[]> {
  const folders = new Set((env.PATH ?? "").split(delimiter).filter(Boolean));
  for (const [folder, within] of PLACES)
    for (const name of list(folder))
      if (/^(pgsql-|postgresql@)?\d+$/.test(name)) folders.add(join(folder, name, within));
  // A folder of links into another one is that one.
  const real = new Set([...folders].filter(isWhole).map((folder) => dirname(realpathSync(join(folder, "postgres")))));
  const found = await Promise.all([...real].filter(isWhole).map(describeInstallation));
  const usable = found.filter((each) => each !== null && each.major >= OLDEST_MAJOR && each.major <= NEWEST_MAJOR);
  return (usable as Installation[]).sort((a, b) => b.major - a.major);
}

const isWhole = (folder: string): boolean => existsSync(join(folder, "postgres")) && existsSync(join(folder, "initdb"));

/** What a folder's `postgres` says of itself; null when it does not run. */
export async function describeInstallation(folder: string): Promise<Installation | null> {
  try {
    const { stdout } = await run(join(folder, "postgres"), ["--version"], { timeout: 10_000 });
    return installationOf(folder, stdout);
  } catch {
    return null;
  }
}

export function installationOf(folder: string, said: string): Installation | null {
  const version = /\(PostgreSQL\) (\d+)(\S*)/.exec(said);
  return version ? { folder, major: Number(version[1]), version: `${version[1]}${version[2]}` } : null;
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** Whether it was not removed since it was found. */
export const isThere = ({ folder, image }: Installation): boolean =>
  image !== undefined || existsSync(join(folder, "postgres"));

/** The one that can open what a version made. */
export function ofMajor(major: number | null, installations: readonly Installation[]): Installation {
  const fitting = installations.find((each) => each.major === major);
  if (fitting) return fitting;
  const there = [...new Set(installations.map((each) => each.major))].join(", ");
  throw new NotStarted(
    "wrong_version",
    `it was made by PostgreSQL ${major}, and this host has ${there === "" ? "none" : `${there} only`}`,
  );
}
