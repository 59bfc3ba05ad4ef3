import { access, constants, realpath, stat } from "node:fs/promises";
import { delimiter, dirname, isAbsolute, join } from "node:path";
import { type Account, canReach } from "./account.ts";

export type Lookup = { path: string } | { reason: "command_not_found" | "permission_denied"; message: string };

const DEFAULT_PATH = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/** The PATH of programs: the agent's own, then the folders that every system has. */
export function defaultPath(own: string | undefined): string {
  const parts = (own ?? "").split(delimiter).filter((part) => isAbsolute(part));
  return [...new Set([...parts, ...DEFAULT_PATH])].join(delimiter);
}

/**
 * The file that a command names: itself when it has a slash (from the working folder), else the first in `path` that the program's user may
 * execute, as that user's own shell would find it.
 */
export async function findProgram(command: string, path: string, cwd: string, account: Account): Promise<Lookup> {
  const candidates = command.includes("/")
    ? [isAbsolute(command) ? command : join(cwd, command)]
    : path.split(delimiter).map((folder) => join(folder, command));
  let forbidden: string | null = null;
  for (const candidate of candidates) {
    try {
      if (!(await stat(candidate)).isFile()) {
        forbidden ??= candidate;
        continue;
      }
      await access(candidate, constants.X_OK);
      if (await mayExecute(candidate, account)) return { path: candidate };
      forbidden ??= candidate;
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code === "EACCES" || code === "EPERM") forbidden ??= candidate;
    }
  }
  const by = account === null ? "" : ` by user ${account.uid}, which programs run as here`;
  if (forbidden !== null)
    return { reason: "permission_denied", message: `command: ${forbidden} cannot be executed${by}` };
  const where = command.includes("/") ? (candidates[0] as string) : `"${command}" in PATH (${path})`;
  return { reason: "command_not_found", message: `command: there is no ${where}` };
}

/** Both the way to the name and, where that is a link, the way to what it names must be open to the user. */
const mayExecute = async (path: string, account: Account): Promise<boolean> =>
  account === null || ((await canReach(dirname(path), account)) && (await canReach(await realpath(path), account)));
