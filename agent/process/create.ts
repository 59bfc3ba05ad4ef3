import { chmod, chown, lstat, mkdir, stat } from "node:fs/promises";
import { delimiter, dirname, join, resolve } from "node:path";
import { REPORT_ENV } from "../../contract/instance-report.ts";
import type { Workload, WorkloadSpec } from "../../contract/workload.ts";
import { compiledModules } from "../compiled-modules.ts";
import { ownPrograms } from "../own-programs.ts";
import { type Account, accountFor, canReach } from "./account.ts";
import { type Cgroups, procsOf } from "./cgroup.ts";
import { type Fault, fault } from "./fault.ts";
import { badDestination, writeFiles } from "./files.ts";
import { type Folders, type Intent, isSafeId, makeFolder, writeIntent } from "./folder.ts";
import { MARK } from "./pid.ts";
import type { Ports } from "./port.ts";
import { defaultPath, findProgram } from "./program.ts";
import { portVariables, takePorts } from "./publish.ts";

export const LOG_FILE_BYTES = 10 * 1024 ** 2;
export const LOG_FILES = 3;

/** The variable that names the folder of an instance's files. */
const FILES = "LAMPLIGHTER_FILES";

/** Where the working folders go when the agent's data folder lies where the programs' user cannot go. */
const OUTSIDE = "/var/tmp";

/** The first field of a specification that asks for something that a plain process cannot have; null when there is none. */
export function unsupported(spec: WorkloadSpec): Fault | null {
  const no = (field: string, why: string): Fault => fault("unsupported", `${field}: ${why}`);
  if (spec.image !== null) return no("image", "the process runtime runs a command of the host, not an image");
  if (spec.registry !== null || spec.registry_config !== undefined || spec.use_host_auth === true)
    return no("registry", "the process runtime pulls nothing");
  if (spec.mounts.length > 0)
    return no("mounts", "the process runtime cannot mount; the program sees the host's own files");
  if (spec.user.privileged)
    return no("user.privileged", "a process has no privileged mode; use user.id 0 where the host's policy permits it");
  const withHostIp = spec.ports.findIndex((port) => (port.host_ip ?? null) !== null);
  if (withHostIp >= 0)
    return no(`ports[${withHostIp}].host_ip`, "the program itself chooses the address that it listens on");
  if (spec.command.length === 0) return no("command", "the process runtime needs a command");
  return null;
}

export type Making = {
  folders: Folders;
  cgroups: Cgroups;
  ports: Ports;
  /** Where the control plane answers; told to programs that report to it, and to no others. */
  controlUrl?: string | undefined;
};

/** Puts everything in place that a shim needs, its intent last; answers why it cannot be. Safe to repeat after a crash at any point. */
export async function prepare(
  workload: Workload,
  { folders, cgroups, ports, controlUrl }: Making,
): Promise<Intent | Fault> {
  const { id, generation, spec } = workload;
  if (!isSafeId(id)) return fault("invalid_id", "the workload's id cannot name a folder", "config_error");
  const no = unsupported(spec);
  if (no) return no;
  const user = await accountFor(spec.user);
  if ("fault" in user) return fault("user_unsupported", user.fault);
  const { account } = user;
  const mark = folders.mark(id, generation);

  const home = await workFolder(folders, id, account);
  if (typeof home !== "string") return home;
  const cwd = spec.working_dir === null ? home : resolve(home, spec.working_dir);
  const isFolder = await stat(cwd).then(
    (found) => found.isDirectory(),
    () => false,
  );
  if (!isFolder) return fault("working_dir_missing", `working_dir: there is no folder ${cwd} on the host`);

  const reports = spec.environment[REPORT_ENV.path] !== undefined;
  const usual = spec.environment.PATH ?? defaultPath(process.env.PATH);
  const path = reports ? `${usual}${delimiter}${await ownPrograms(dirname(folders.root), account)}` : usual;
  const files = await filesFor(workload, folders, account);
  if (typeof files !== "string" && files !== null) return files;
  const command = spec.command[0] as string;
  const program = await findProgram(command, path, cwd, account);
  if ("reason" in program) return fault(program.reason, program.message);

  const taken = await takePorts(spec, ports, mark);
  if ("reason" in taken) return taken;

  const folder = folders.instance(id, generation);
  const logs = folders.logs(id, generation);
  await makeFolder(folder, 0o700);
  await makeFolder(logs, 0o700);
  const cgroup = await cgroups.make(mark, { memoryBytes: spec.memory_limit_bytes, cpuMillis: spec.cpu_limit_millis });
  const homes = cgroup.dirs.length > 0 ? await cgroups.home() : [];

  const intent: Intent = {
    mark,
    owner: workload.owner,
    port: taken.port,
    ports: taken.bound,
    program: program.path,
    argv0: command,
    arguments: spec.command.slice(1),
    cwd,
    env: {
      PATH: path,
      HOME: home,
      LANG: "C.UTF-8",
      ...(reports ? compiledModules() : {}),
      ...spec.environment,
      ...(reports && controlUrl !== undefined ? { [REPORT_ENV.url]: controlUrl } : {}),
      ...portVariables(taken),
      ...(files === null ? {} : { [FILES]: files }),
      [MARK]: mark,
    },
    uid: account?.uid ?? null,
    gid: account?.gid ?? null,
    cgroup: { dirs: cgroup.dirs, procs: cgroup.dirs.map(procsOf), home: homes, oom_files: cgroups.oomFiles(mark) },
    unenforced: { memory: cgroup.memory, cpu: cgroup.cpu },
    memory_limit_bytes: spec.memory_limit_bytes,
    run_timeout_ms: spec.run_timeout_ms ?? null,
    stop_timeout_ms: spec.stop_timeout_ms,
    log: { folder: logs, file_bytes: LOG_FILE_BYTES, files: LOG_FILES },
  };
  await writeIntent(folder, intent, folders.key);
  return intent;
}

/** The workload's own folder, which is its program's home: made if need be, and given to its user. */
async function workFolder(folders: Folders, id: string, account: Account): Promise<string | Fault> {
  await makeFolder(folders.root, 0o711);
  await makeFolder(folders.workload(id), 0o711);
  const inside = await canReach(folders.workload(id), account);
  let path = folders.work(id);
  if (!inside) {
    const base = outsideBase(folders);
    await mkdir(base, { mode: 0o711 }).catch(() => {});
    const found = await lstat(base);
    if (!found.isDirectory() || found.uid !== process.getuid?.()) {
      return fault("working_dir_missing", `${base} belongs to somebody else`, "file_system_error");
    }
    await chmod(base, 0o711);
    path = join(base, id);
  }
  await makeFolder(path, 0o700);
  if (account) await chown(path, account.uid, account.gid);
  return path;
}

/** Writes the configs and secrets that it gets as files; answers their folder, null when there are none. */
async function filesFor(
  { id, generation, spec }: Workload,
  folders: Folders,
  account: Account,
): Promise<string | null | Fault> {
  const files = spec.files ?? [];
  if (files.length === 0) return null;
  const bad = badDestination(files);
  if (bad !== null)
    return fault("file_destination_invalid", `volumes: ${bad} is no path below the folder of files`, "config_error");
  const inside = await canReach(folders.workload(id), account);
  const folder = inside ? folders.files(id, generation) : outsideFiles(folders, id, generation);
  await writeFiles(folder, files, account);
  return folder;
}

const outsideFiles = (folders: Folders, id: string, generation: number): string =>
  join(outsideBase(folders), `${id}.files`, `g${generation}`);

/** Every place where an instance's files may be. */
export const filesFolders = (folders: Folders, id: string, generation: number): string[] => [
  folders.files(id, generation),
  outsideFiles(folders, id, generation),
];

/** Where working folders go when the programs' user cannot go to the data folder. */
export const outsideBase = (folders: Folders): string => join(OUTSIDE, `lamplighter-${folders.tag}`);

/** Every place outside of its instances' folders where something of a workload may be. */
export const workFolders = (folders: Folders, id: string): string[] => [
  folders.work(id),
  join(outsideBase(folders), id),
  join(outsideBase(folders), `${id}.files`),
];
