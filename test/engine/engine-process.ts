// An engine as a process, built from a source that runs.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { z } from "zod";
import {
  ENGINE_SIZES,
  type EngineHealth,
  type EngineSettings,
  nodeArguments,
  type SourceConnection,
} from "../../contract/engine.ts";
import { type Built, ConfigInvalid, introspect } from "../../engine/build/build.ts";
import { buildEngine } from "../../engine/build/bundle.ts";
import { composeShape } from "../../engine/config/compose.ts";
import { keyText } from "../../engine/serve/keys.ts";
import { freePort } from "../free-port.ts";
import { scratch } from "../scratch.ts";

export const SECRET = "the secret of the keys";
const ADMIN = "the token of the admin";

/** What was built in this process, by what it was built from: most tests of a file have the same tables. */
const builds = new Map<string, Promise<Built>>();
let buildsFolder: string | null = null;

async function buildOnce(source: SourceConnection, yaml: string | null): Promise<Built> {
  const composed = composeShape(await introspect(source), yaml);
  if ("problems" in composed) throw new ConfigInvalid(composed.problems);
  buildsFolder ??= scratch("builds");
  const key = JSON.stringify(composed);
  const { shape, findings } = composed;
  const built = builds.get(key) ?? buildEngine(shape, buildsFolder, findings).then((made) => ({ ...made, findings }));
  builds.set(key, built);
  return built;
}

export class EngineProcess {
  readonly built: Built;
  readonly folder: string;
  readonly url: string;
  readonly #settings: string;
  readonly #arguments: readonly string[];
  #child: ChildProcess | null = null;
  said = "";

  private constructor(built: Built, folder: string, settings: z.input<typeof EngineSettings>) {
    this.built = built;
    this.folder = folder;
    this.#settings = join(folder, "settings.json");
    this.#arguments = nodeArguments(settings.memoryMb ?? ENGINE_SIZES[settings.size ?? "nano"]);
    this.url = `http://127.0.0.1:${settings.listen.port}`;
    writeFileSync(this.#settings, JSON.stringify(settings));
  }

  static async create(
    source: z.input<typeof SourceConnection>,
    more: Partial<z.input<typeof EngineSettings>> & { yaml?: string } = {},
  ): Promise<EngineProcess> {
    const folder = mkdtempSync(join(tmpdir(), "lamplighter-engine-"));
    const { yaml = null, ...rest } = more;
    const built = await buildOnce({ tls: { mode: "disable" }, ...source } as SourceConnection, yaml);
    const settings = {
      ...{
        instance: "test",
        source,
        listen: { port: await freePort() },
        adminToken: ADMIN,
        logLevel: "debug" as const,
      },
      keys: { secret: SECRET, keys: [{ id: "all" }] },
      ...rest,
    };
    return new EngineProcess(built, folder, settings);
  }

  start(): void {
    const child = spawn(process.execPath, [...this.#arguments, this.built.path, "--settings", this.#settings], {
      stdio: ["ignore", "inherit", "pipe"],
    });
    this.#child = child;
    child.stderr?.on("data", (chunk: Buffer) => {
      this.said += chunk;
    });
    child.once("exit", () => {
      if (this.#child === child) this.#child = null;
    });
  }

  /** Resolves with the exit code. */
  async ended(): Promise<number | null> {
    const child = this.#child;
    return child === null ? null : new Promise((done) => child.once("exit", done));
  }

  async stop(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
    const ended = this.ended();
    this.#child?.kill(signal);
    await ended;
  }

  async health(): Promise<EngineHealth | null> {
    return fetch(`${this.url}/health`, { headers: { authorization: `Bearer ${ADMIN}` } }).then(
      (response) => response.json() as Promise<EngineHealth>,
      () => null,
    );
  }

  async until(what: string, check: (health: EngineHealth) => boolean, timeoutMs = 20_000): Promise<EngineHealth> {
    const end = Date.now() + timeoutMs;
    for (;;) {
      const health = await this.health();
      if (health !== null && check(health)) return health;
      if (Date.now() > end || this.#child === null) throw new Error(`${what}: ${JSON.stringify(health)}\n${this.said}`);
      await sleep(20);
    }
  }

  serving(): Promise<EngineHealth> {
    return this.until("serving", ({ state, replication }) => state === "serving" && replication.state === "live");
  }

  async ask(
    query: string,
    headers: Record<string, string> = {},
    key = "all",
  ): Promise<{ status: number; headers: Headers; body: never }> {
    const authorization = `Bearer ${keyText(SECRET, key)}`;
    const response = await fetch(`${this.url}/query`, {
      method: "POST",
      body: query,
      headers: { authorization, ...headers },
    });
    return { status: response.status, headers: response.headers, body: (await response.json()) as never };
  }

  async act(path: string, method = "POST", body?: unknown): Promise<{ status: number; body: never }> {
    const response = await fetch(`${this.url}${path}`, {
      method,
      headers: { authorization: `Bearer ${ADMIN}` },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: (await response.json()) as never };
  }

  async remove(): Promise<void> {
    await this.stop("SIGKILL");
    rmSync(this.folder, { recursive: true, force: true });
  }
}
