import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { DeploymentView } from "../../contract/deployment.ts";
import type { JournalEvent } from "../../contract/event.ts";
import type { HostView } from "../../contract/host.ts";

export type Answer = { status: number; headers: Headers; text: string };
export type Ask = { body?: unknown; headers?: Record<string, string>; key?: string };
export type ManifestBody = Record<string, unknown> & { name: string };

/** How long a control plane that is killed and started again may leave a request unanswered, ms. */
const PATIENCE_MS = 60_000;

/** A user who repeats a request until it is answered, with one Idempotency-Key, as a careful script does. */
export class Client {
  readonly #url: () => string;
  readonly #token: string;
  /** Every body that was answered, when it is kept: for tests that look for what must never be in one. */
  readonly answers: string[] | null;

  constructor(url: () => string, token: string, answers: string[] | null = null) {
    this.#url = url;
    this.#token = token;
    this.answers = answers;
  }

  async send(method: string, path: string, { body, headers = {}, key = randomUUID() }: Ask = {}): Promise<Answer> {
    const init: RequestInit = {
      method,
      headers: {
        authorization: `Bearer ${this.#token}`,
        ...(method === "GET" ? {} : { "idempotency-key": key }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    };
    for (const deadline = Date.now() + PATIENCE_MS; ; await sleep(25)) {
      try {
        const response = await fetch(this.#url() + path, { ...init, signal: AbortSignal.timeout(PATIENCE_MS) });
        const text = await response.text();
        this.answers?.push(text);
        if (response.status < 500 || Date.now() > deadline)
          return { status: response.status, headers: response.headers, text };
        // A control plane that has answered 500 has a fault, killed or not.
        if (response.status === 500) throw new Error(`${method} ${path} answered 500: ${text}`);
      } catch (error) {
        if (Date.now() > deadline || String(error).includes("answered 500")) throw error;
      }
    }
  }

  async json<T>(path: string): Promise<T> {
    return parsed<T>(await this.send("GET", path), `GET ${path}`);
  }

  async apply(manifest: ManifestBody, ask: Ask = {}): Promise<DeploymentView> {
    return parsed(await this.send("POST", "/deployments", { body: manifest, ...ask }), `applying ${manifest.name}`);
  }

  async delete(id: string): Promise<void> {
    const { status, text } = await this.send("DELETE", `/deployments/${id}`);
    // Repeated after an answer that a kill swallowed, it may find the deployment purged.
    if (status !== 204 && status !== 404) throw new Error(`deleting ${id}: ${status} ${text}`);
  }

  deployment(id: string): Promise<DeploymentView> {
    return this.json(`/deployments/${id}`);
  }

  async isGone(id: string): Promise<boolean> {
    return (await this.send("GET", `/deployments/${id}`)).status === 404;
  }

  deployments(): Promise<DeploymentView[]> {
    return this.json("/deployments?limit=1000");
  }

  hosts(): Promise<HostView[]> {
    return this.json("/hosts?limit=1000");
  }

  async host(name: string): Promise<HostView> {
    const host = (await this.hosts()).find((one) => one.name === name);
    if (host === undefined) throw new Error(`there is no host ${name}`);
    return host;
  }

  /** Oldest first. */
  async events(path: string): Promise<JournalEvent[]> {
    return (await this.json<JournalEvent[]>(`${path}/events?limit=1000`)).reverse();
  }

  async act(hostId: string, action: "cordon" | "uncordon" | "drain"): Promise<HostView> {
    return parsed(await this.send("POST", `/hosts/${hostId}/${action}`), `${action} ${hostId}`);
  }
}

function parsed<T>({ status, text }: Answer, what: string): T {
  if (status >= 300) throw new Error(`${what}: ${status} ${text}`);
  return JSON.parse(text) as T;
}

/** Looks until there is something; says after `withinMs` what was still missing. A look costs time of the processor: what takes long is looked for less often. */
export async function until<T>(
  missing: () => string,
  look: () => Promise<T | null | false> | T | null | false,
  withinMs = Number(process.env.LAMPLIGHTER_PATIENCE_MS ?? 60_000),
  everyMs = 100,
): Promise<T> {
  for (const begun = Date.now(); ; ) {
    const found = await look();
    if (found !== null && found !== false) return found;
    const waited = Date.now() - begun;
    if (waited > withinMs) throw new Error(`${missing()} (waited ${withinMs / 1000} s)`);
    await sleep(Math.min(everyMs, Math.max(20, waited / 20)));
  }
}
