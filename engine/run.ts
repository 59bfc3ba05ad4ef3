import { readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { getHeapStatistics } from "node:v8";
import {
  ENGINE_SIZES,
  EngineSettings,
  EXIT_OUT_OF_MEMORY,
  nodeArguments,
  type SyncSettings,
} from "../contract/engine.ts";
import { Checkpoint } from "./replication/checkpoint.ts";
import { MemoryLimit } from "./replication/memory.ts";
import { Replica } from "./replication/replica.ts";
import { Keys } from "./serve/keys.ts";
import { EngineServer } from "./serve/server.ts";
import type { Shape } from "./shape/shape.ts";
import { SourceFailure } from "./source/failure.ts";
import { openSource } from "./source/open.ts";
import type { Store } from "./store/table.ts";

/** What an artifact is, besides the program. */
export type Engine = { shape: Shape; openapi: unknown; createStore: () => Store };

/** Seconds. */
const USUAL_INTERVAL = 30;
const LEVELS = ["debug", "info", "warn", "error"] as const;

/** Runs an artifact that was started with `node <id>.mjs --settings <file>`; does nothing where it was only imported. */
export async function runAsProgram(engine: Engine, meta: ImportMeta): Promise<void> {
  if (!meta.main) return;
  const { values } = parseArgs({ options: { settings: { type: "string" } } });
  if (values.settings === undefined) {
    console.error("usage: node <id>.mjs --settings <file>");
    process.exitCode = 2;
    return;
  }
  const parsed = EngineSettings.safeParse(JSON.parse(readFileSync(values.settings, "utf8")));
  if (!parsed.success) {
    for (const { path, message } of parsed.error.issues) console.error(`settings: ${path.join(".")}: ${message}`);
    process.exitCode = 2;
    return;
  }
  const wanted = parsed.data.memoryMb ?? ENGINE_SIZES[parsed.data.size];
  if (getHeapStatistics().heap_size_limit / 2 ** 20 < wanted) {
    console.error(`settings: this size wants node ${nodeArguments(wanted).join(" ")}`);
    process.exitCode = 2;
    return;
  }
  const build = basename(fileURLToPath(meta.url), ".mjs");
  process.on("uncaughtExceptionMonitor", (error) => complain("engine_died", error.message));
  const running = await startEngine(engine, parsed.data, build).catch((error: Error) => {
    complain(error instanceof SourceFailure ? error.code : "engine_died", error.message);
    process.exit(1);
  });
  // Told twice, by its group and by the program beside it, it still ends in good order.
  let isClosing = false;
  for (const signal of ["SIGTERM", "SIGINT"] as const)
    process.on(signal, () => {
      if (!isClosing) void running.close();
      isClosing = true;
    });
  const failure = await running.ended;
  if (failure === null) return;
  complain(failure.code, failure.message);
  process.exit(failure.code === "oom" ? EXIT_OUT_OF_MEMORY : 1);
}

/** Why it ends, as whoever started it reads it. */
const complain = (code: string, text: string): void => console.error(JSON.stringify({ level: "error", code, text }));

export type Running = {
  url: string;
  ended: Promise<{ code: string; message: string } | null>;
  close(): Promise<void>;
  server: EngineServer;
};

/** Seconds: the setting, or else what the file says as far as that is permitted. */
export const intervalOf = (sync: Pick<SyncSettings, "interval" | "minInterval">, shape: Pick<Shape, "sync">): number =>
  sync.interval ?? Math.max(sync.minInterval, shape.sync.interval ?? USUAL_INTERVAL);

export async function startEngine(engine: Engine, settings: EngineSettings, build: string): Promise<Running> {
  const memory = new MemoryLimit(settings.memoryMb ?? ENGINE_SIZES[settings.size]);
  const log = (level: (typeof LEVELS)[number], text: string) => {
    if (LEVELS.indexOf(level) >= LEVELS.indexOf(settings.logLevel))
      console.error(JSON.stringify({ level, at: new Date().toISOString(), text }));
  };
  const { shape } = engine;
  const { sync } = settings;
  const safetyNet = sync.safetyNet ?? shape.sync.safetyNet;
  const source = await openSource(
    {
      ...{ source: settings.source, shape, sync, instance: settings.instance, generation: settings.generation },
      ...{ keepsSlot: settings.checkpoint !== null, createStore: engine.createStore, moves: settings.moves },
    },
    log,
  );
  if (settings.checkpoint !== null) await mkdir(settings.checkpoint.folder, { recursive: true, mode: 0o700 });
  const replica = new Replica({
    ...{ shape, source, createStore: engine.createStore, memory, log, moves: settings.moves },
    intervalMs: intervalOf(sync, shape) * 1000,
    safetyNetMs: safetyNet === null ? null : safetyNet * 1000,
    checkpoint:
      settings.checkpoint === null
        ? null
        : { at: new Checkpoint(settings.checkpoint.folder, build), everyMs: settings.checkpoint.everySeconds * 1000 },
  });
  const keys = new Keys(shape, settings.keys);
  const server = new EngineServer({
    ...{ shape, openapi: engine.openapi, build, replica, source, keys, memory },
    adminToken: settings.adminToken,
    locate: (at) => {
      if (at !== null) Object.assign(settings.source, at);
      replica.sourceIs(at === null ? "asleep" : "awake");
    },
  });
  const url = await new Promise<string>((resolve, reject) => {
    server.http.once("error", reject);
    server.http.listen(settings.listen.port, settings.listen.host, () => {
      const address = server.http.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      resolve(`http://${settings.listen.host}:${port}`);
    });
  });
  log("info", `listens at ${url}`);
  const ended = replica.run().then(
    () => null,
    () => replica.failure,
  );
  const close = async () => {
    await replica.checkpoint();
    await replica.stop();
    server.http.closeAllConnections();
    await new Promise((resolve) => server.http.close(resolve));
    await ended;
  };
  return { url, ended, close, server };
}
