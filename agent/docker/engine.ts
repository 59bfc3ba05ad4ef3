import { readFileSync } from "node:fs";
import { join } from "node:path";
import Docker from "dockerode";
import { type EngineAddress, engineAddresses, socketPathOf } from "./socket.ts";

/** What an engine answered, or that it did not. `status` is null when no answer came: then nobody knows whether the call took effect. */
export class EngineError extends Error {
  readonly status: number | null;

  constructor(message: string, status: number | null) {
    super(message);
    this.name = "EngineError";
    this.status = status;
  }
}

/** How long an engine may take for a call that should be quick, ms. */
const CALL_MS = 60_000;

/**
 * The connection to one engine. Every call has a deadline, because docker-modem never settles when a connection breaks in the middle of
 * an answer, and every failure becomes an `EngineError` with the engine's own words.
 */
export class Engine {
  readonly docker: Docker;
  readonly address: EngineAddress;

  constructor(address: EngineAddress) {
    this.address = address;
    this.docker = new Docker(connection(address));
  }

  /** Whether the engine sees the same file system and process ids as this agent. */
  get local(): boolean {
    return socketPathOf(this.address) !== null;
  }

  async call<T>(what: string, run: (docker: Docker) => Promise<T>, timeoutMs = CALL_MS): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () =>
          reject(new EngineError(`the engine did not answer '${what}' within ${Math.round(timeoutMs / 1000)} s`, null)),
        timeoutMs,
      );
    });
    try {
      return await Promise.race([run(this.docker), late]);
    } catch (error) {
      throw engineError(error);
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Connection options that say everything: what is left out, docker-modem takes from DOCKER_HOST, which would win over a socket path. */
function connection(address: EngineAddress): Docker.DockerOptions {
  const socketPath = socketPathOf(address);
  const none = {
    host: undefined,
    port: undefined,
    username: undefined,
    ca: undefined,
    cert: undefined,
    key: undefined,
  };
  if (socketPath !== null) return { ...none, protocol: "http", socketPath } as unknown as Docker.DockerOptions;
  const url = new URL(address);
  if (url.protocol === "ssh:") {
    return {
      ...none,
      protocol: "ssh",
      host: url.hostname,
      port: url.port || 22,
      username: url.username,
    } as unknown as Docker.DockerOptions;
  }
  const folder = process.env.DOCKER_CERT_PATH;
  const tls = url.protocol === "https:" || url.port === "2376" || Boolean(process.env.DOCKER_TLS_VERIFY);
  const keys =
    tls && folder ? { ca: read(folder, "ca.pem"), cert: read(folder, "cert.pem"), key: read(folder, "key.pem") } : {};
  return {
    ...none,
    ...keys,
    socketPath: undefined,
    protocol: tls ? "https" : "http",
    host: url.hostname,
    port: url.port || (tls ? 2376 : 2375),
  } as unknown as Docker.DockerOptions;
}

const read = (folder: string, file: string): string => readFileSync(join(folder, file), "utf8");

const GOING_DOWN =
  /transport is closing|connection (is )?(closing|shut ?down)|shutting down|: unavailable$|code = unavailable|failed to update the store/i;

/** Any error of dockerode as an `EngineError`. */
export function engineError(error: unknown): EngineError {
  if (error instanceof EngineError) return error;
  const raw = error as { statusCode?: number; json?: unknown; message?: string; code?: string };
  if (typeof raw.statusCode === "number") {
    const said = (raw.json as { message?: unknown } | null | undefined)?.message;
    const fallback = (raw.message ?? "").replace(/^\(HTTP code \d+\) [^-]* - /, "");
    const message = (typeof said === "string" ? said : fallback).trim();
    if (raw.statusCode === 500) {
      // Podman answers so for a container that goes while it looks.
      if (/no such container/i.test(message)) return new EngineError(message, 404);
      // An engine that is going down still answers, with what its parts say: that is no answer.
      if (GOING_DOWN.test(message)) return new EngineError(message, null);
    }
    return new EngineError(message, raw.statusCode);
  }
  return new EngineError(raw.message || raw.code || String(error), null);
}

export type EngineVersion = { version: string; podman: boolean };

/** The version of the engine and whether it is Podman; null when it does not answer in time. */
export async function engineVersion(engine: Engine, timeoutMs = 10_000): Promise<EngineVersion | null> {
  try {
    const answer = await engine.call("version", (docker) => docker.version(), timeoutMs);
    const podman = (answer.Components ?? []).find((it) => it.Name === "Podman Engine");
    return { version: podman?.Version ?? answer.Version, podman: podman !== undefined };
  } catch {
    return null;
  }
}

/** The first engine that answers and is of this runtime. `docker` takes any engine, for hosts where Podman serves Docker's socket. */
export async function findEngine(
  runtime: "docker" | "podman",
  socketPath: string | undefined,
): Promise<{ engine: Engine; version: EngineVersion } | null> {
  const uid = process.getuid?.() ?? null;
  const addresses = socketPath === undefined ? engineAddresses(runtime, process.env, uid) : [`unix://${socketPath}`];
  for (const address of addresses) {
    let engine: Engine;
    try {
      engine = new Engine(address);
    } catch {
      continue;
    }
    const version = await engineVersion(engine);
    if (version !== null && (runtime === "docker" || version.podman)) return { engine, version };
  }
  return null;
}
