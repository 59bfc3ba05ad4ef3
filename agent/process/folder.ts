import { createHash } from "node:crypto";
import { mkdirSync } from "node:fs";
import { mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { BoundPort, Exit } from "../../contract/workload.ts";
import { StateKey } from "../state-key.ts";
import { Pid } from "./pid.ts";

/**
 * The folders of the process runtime:
 *
 *     <data>/process/<workload>/g<generation>/   intent.json  shim.json  child.json  exit.json   one instance, until it is removed
 *     <data>/process/<workload>/logs/g<generation>/<n>.log                                     until the workload is gone
 *     <data>/process/<workload>/files/g<generation>/                                           its configs and secrets, until it is removed
 *     <data>/process/<workload>/work/                                                          its working folder, until it is gone
 *
 * `intent.json` is written by the agent before it starts a shim; the other three by the shim: its claim on the folder, the program that it
 * started, and how that ended. Each is there whole or not at all.
 */

/** What a shim is to do. The environment, which holds secrets, is sealed in the file. */
export const Intent = z.object({
  mark: z.string(),
  owner: z.string(),
  port: z.int(),
  /** Which port of the host stands for each of the specification; an intent of an older agent does not say. */
  ports: z.array(BoundPort).default([]),
  program: z.string(),
  argv0: z.string(),
  arguments: z.array(z.string()),
  cwd: z.string(),
  env: z.record(z.string(), z.string()),
  uid: z.int().nullable(),
  gid: z.int().nullable(),
  cgroup: z.object({
    dirs: z.array(z.string()),
    /** The files by which a process enters, by which the shim leaves again, and which count the kills for want of memory. */
    procs: z.array(z.string()),
    home: z.array(z.string()),
    oom_files: z.array(z.string()),
  }),
  /** Why a limit that was asked for is not enforced; null when it is, or none was asked for. */
  unenforced: z.object({ memory: z.string().nullable(), cpu: z.string().nullable() }),
  memory_limit_bytes: z.int().nullable(),
  /** For how long it may run, and from SIGTERM to SIGKILL then, ms. */
  run_timeout_ms: z.int().nullable().default(null),
  stop_timeout_ms: z.int().default(0),
  log: z.object({ folder: z.string(), file_bytes: z.int(), files: z.int() }),
});
export type Intent = z.infer<typeof Intent>;

/** As it is in the file. `key_path`: the key that opens the environment; one that was written before there was a key has it in clear. */
export const StoredIntent = Intent.extend({
  env: z.union([z.string(), Intent.shape.env]),
  key_path: z.string().optional(),
});
export type StoredIntent = z.infer<typeof StoredIntent>;

export const Child = z.object({ ...Pid.shape, started_at: z.int(), cgroup_faults: z.array(z.string()) });
export type Child = z.infer<typeof Child>;

export const Ending = z.union([
  z.object({ exit: Exit }),
  z.object({ failed: z.object({ code: z.string(), message: z.string() }), at: z.int() }),
]);
export type Ending = z.infer<typeof Ending>;

/** What the folder of an instance says. */
export type Written = { intent: Intent | null; shim: Pid | null; child: Child | null; ending: Ending | null };

const SAFE_ID = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/;

/** Whether a workload id can be the name of a folder, and nothing else. */
export const isSafeId = (id: string): boolean => SAFE_ID.test(id) && !id.endsWith(".");

export class Folders {
  readonly root: string;
  /** Tells this data folder's instances from those of other agents on the same host. */
  readonly tag: string;

  readonly key: StateKey;

  constructor(dataDir: string) {
    mkdirSync(dataDir, { recursive: true, mode: 0o711 });
    this.key = StateKey.of(dataDir);
    this.root = join(dataDir, "process");
    this.tag = createHash("sha256").update(this.root).digest("hex").slice(0, 8);
  }

  workload(id: string): string {
    if (!isSafeId(id)) throw new Error("the workload's id cannot name a folder");
    return join(this.root, id);
  }

  instance(id: string, generation: number): string {
    return join(this.workload(id), `g${generation}`);
  }

  logs(id: string, generation: number): string {
    return join(this.workload(id), "logs", `g${generation}`);
  }

  files(id: string, generation: number): string {
    return join(this.workload(id), "files", `g${generation}`);
  }

  work(id: string): string {
    return join(this.workload(id), "work");
  }

  /** What marks every process of an instance, in its environment and as its cgroup's name. */
  mark(id: string, generation: number): string {
    return `${this.tag}-${id}-g${generation}`;
  }

  /** Every instance that has a folder, half-made ones too. */
  async list(): Promise<{ id: string; generation: number }[]> {
    const found: { id: string; generation: number }[] = [];
    for (const id of await names(this.root)) {
      if (!isSafeId(id)) continue;
      for (const name of await names(join(this.root, id))) {
        const match = /^g([1-9]\d*)$/.exec(name);
        if (match) found.push({ id, generation: Number(match[1]) });
      }
    }
    return found;
  }

  /** The generations of which there are logs, oldest first. */
  async loggedGenerations(id: string): Promise<number[]> {
    const all = (await names(join(this.workload(id), "logs"))).map((name) => /^g([1-9]\d*)$/.exec(name)?.[1]);
    return all
      .filter((number) => number !== undefined)
      .map(Number)
      .sort((a, b) => a - b);
  }
}

export async function names(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch {
    return [];
  }
}

export async function writeIntent(folder: string, { env, ...intent }: Intent, key: StateKey): Promise<void> {
  const stored: StoredIntent = { ...intent, env: key.seal(JSON.stringify(env)), key_path: key.path };
  await writeWhole(join(folder, "intent.json"), stored, false);
}

/** An environment that does not open is as good as none: the program has had it, and only a command beside it would miss it. */
function opened(stored: StoredIntent | null, key: StateKey): Intent | null {
  if (stored === null) return null;
  const { env, key_path: _, ...intent } = stored;
  const clear = typeof env === "string" ? key.open(env) : null;
  return { ...intent, env: typeof env === "string" ? Intent.shape.env.parse(JSON.parse(clear ?? "{}")) : env };
}

export async function readInstance(folder: string, key: StateKey): Promise<Written> {
  const [intent, shim, child, ending] = await Promise.all([
    readJson(join(folder, "intent.json"), StoredIntent),
    readJson(join(folder, "shim.json"), Pid),
    readJson(join(folder, "child.json"), Child),
    readEnding(folder),
  ]);
  return { intent: opened(intent, key), shim, child, ending };
}

export const readEnding = (folder: string): Promise<Ending | null> => readJson(join(folder, "exit.json"), Ending);

async function readJson<T>(path: string, schema: z.ZodType<T>): Promise<T | null> {
  try {
    return schema.parse(JSON.parse(await readFile(path, "utf8")));
  } catch {
    return null;
  }
}

/** Writes a file that is there whole or not at all, and readable by its owner only. `durable`: it outlives a power cut. */
export async function writeWhole(path: string, content: unknown, durable: boolean): Promise<void> {
  const file = await open(`${path}.new`, "w", 0o600);
  try {
    await file.writeFile(JSON.stringify(content));
    if (durable) await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
}

export async function makeFolder(path: string, mode: number): Promise<void> {
  await mkdir(path, { recursive: true, mode });
}

export const removeFolder = (path: string): Promise<void> => rm(path, { recursive: true, force: true, maxRetries: 3 });
