import type { z } from "zod";
import * as shape from "./shapes.ts";

/** Carries one request to the control plane: inside workerd a call of the Worker, elsewhere HTTP. */
export type Carry = (path: string, init: RequestInit) => Promise<Response>;
type Fields = Record<string, unknown>;

/** What a client was answered that it did not expect. */
export class Unexpected extends Error {
  readonly status: number;
  readonly body: Fields;
  constructor(request: string, status: number, text: string) {
    super(`${request} was answered ${status}: ${text}`);
    this.status = status;
    this.body = /^\{/.test(text) ? (JSON.parse(text) as Fields) : {};
  }
}

/**
 * Sends what Ring's command line sends, request by request, and decodes the answers as strictly as it does. Written after the description of
 * Ring's interface, since Ring itself cannot be had where these tests run.
 */
export class RingClient {
  readonly #carry: Carry;
  token: string | null = null;

  constructor(carry: Carry) {
    this.#carry = carry;
  }

  /** `ring login`. */
  async login(username: string, password: string): Promise<void> {
    const { token } = JSON.parse(await this.#send("POST", "/login", 200, { username, password })) as { token: string };
    this.token = token;
  }
  logout = (): Promise<string> => this.#send("POST", "/logout", 204);

  /** `ring apply`: namespaces, then configs, then deployments; what is there already is skipped, or put anew. Answers what it prints. */
  async apply(
    file: {
      namespaces?: Record<string, Fields>;
      configs?: Record<string, Fields>;
      deployments: Record<string, Fields>;
    },
    force = false,
  ): Promise<{ printed: string[]; deployments: z.infer<typeof shape.Deployment>[] }> {
    const printed: string[] = [];
    for (const { name } of Object.values(file.namespaces ?? {})) {
      const { status } = await this.#ask("POST", "/namespaces", { name });
      printed.push(status === 409 ? `namespace ${name} already exists, skipping` : `namespace ${name} ${status}`);
    }
    for (const { namespace, name, data } of Object.values(file.configs ?? {})) {
      const made = await this.#ask("POST", "/configs", { namespace, name, data, labels: "" });
      if (made.status === 409) {
        const [config] = await this.#list(shape.Config, `/configs?namespace[]=${namespace}&name[]=${name}`);
        await this.#send("PUT", `/configs/${config?.id}`, 200, { name, data, labels: "" });
      }
      printed.push(`config ${name} ${made.status === 409 ? "updated" : made.status}`);
    }
    const deployments = [];
    for (const written of Object.values(file.deployments)) {
      const text = await this.#send(
        "POST",
        `/deployments${force ? "?force=true" : ""}`,
        [200, 201],
        deploymentBody(written),
      );
      deployments.push(shape.Deployment.parse(JSON.parse(text)));
    }
    return { printed, deployments };
  }

  /** `ring deployment list`: the filters in the one spelling or the other. */
  deployments = (query = ""): Promise<z.infer<typeof shape.Deployment>[]> =>
    this.#list(shape.Deployment, `/deployments${query}`);
  deployment = (id: string) => this.#one(shape.Deployment, `/deployments/${id}`);
  events = (id: string, query = "?limit=50") => this.#list(shape.Event, `/deployments/${id}/events${query}`);
  healthChecks = (id: string, query = "?limit=20&latest=true") =>
    this.#list(shape.HealthCheckResult, `/deployments/${id}/health-checks${query}`);
  metrics = (id: string) => this.#one(shape.Metrics, `/deployments/${id}/metrics`);
  logs = (id: string, query = "") => this.#list(shape.LogLine, `/deployments/${id}/logs${query}`);
  deleteDeployment = (id: string) => this.#send("DELETE", `/deployments/${id}`, 204);
  node = () => this.#one(shape.Node, "/node/get");

  /** Lines of `?follow=true`, as Ring's dashboard reads them: one `data:` line each, comments between. */
  async *follow(id: string, signal: AbortSignal): AsyncGenerator<z.infer<typeof shape.LogLine>> {
    const response = await this.#carry(`/deployments/${id}/logs?tail=100&follow=true`, {
      headers: { ...this.#headers(), accept: "text/event-stream" },
      signal,
    });
    if (!response.ok || !response.body) throw new Unexpected("follow", response.status, await response.text());
    let rest = "";
    for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop() ?? "";
      let event = "message";
      for (const line of lines) {
        if (line.startsWith("event:")) event = line.slice(6).trim();
        if (line.startsWith("data:") && event === "message") yield shape.LogLine.parse(JSON.parse(line.slice(5)));
        if (line === "") event = "message";
      }
    }
  }

  createNamespace = (name: string) => this.#one(shape.Namespace, "/namespaces", "POST", 201, { name });
  namespaces = () => this.#list(shape.Namespace, "/namespaces");
  deleteNamespace = (name: string) => this.#send("DELETE", `/namespaces/${name}`, 204);
  namespaceAudit = async (name: string): Promise<Fields[]> =>
    JSON.parse(await this.#send("GET", `/namespaces/${name}/audit?limit=100`, 200)) as Fields[];

  configs = (namespace: string) => this.#list(shape.Config, `/configs?namespace=${namespace}`);
  config = (id: string) => this.#one(shape.Config, `/configs/${id}`);
  deleteConfig = (id: string) => this.#send("DELETE", `/configs/${id}`, 204);

  createSecret = (namespace: string, name: string, value: string) =>
    this.#one(shape.Secret, "/secrets", "POST", 201, { namespace, name, value });
  secrets = (namespace: string) => this.#list(shape.Secret, `/secrets?namespace[]=${namespace}`);
  deleteSecret = (id: string, force = false) =>
    this.#send("DELETE", `/secrets/${id}${force ? "?force=true" : ""}`, 204);

  createToken = (name: string, scopes: string[], namespaces: string[] = [], expire_at: string | null = null) =>
    this.#one(shape.TokenCreated, "/tokens", "POST", 201, { name, scopes, namespaces, expire_at });
  tokens = () => this.#list(shape.Token, "/tokens");
  revokeToken = (id: string) => this.#send("DELETE", `/tokens/${id}`, 204);
  rotateToken = (id: string) => this.#one(shape.TokenCreated, `/tokens/${id}/rotate`, "POST", 201);

  createUser = (username: string, password: string) =>
    this.#one(shape.User, "/users", "POST", 201, { username, password });
  users = () => this.#list(shape.User, "/users");
  me = () => this.#one(shape.User, "/users/me");
  updateUser = (id: string, fields: Fields) => this.#send("PUT", `/users/${id}`, 200, fields);
  deleteUser = (id: string) => this.#send("DELETE", `/users/${id}`, 204);

  createWebhook = (url: string, events: string[], secret: string) =>
    this.#one(shape.Webhook, "/webhooks", "POST", 201, { url, events, secret });
  webhooks = () => this.#list(shape.Webhook, "/webhooks");
  deleteWebhook = (id: string) => this.#send("DELETE", `/webhooks/${id}`, 204);

  async #list<T extends z.ZodType>(type: T, path: string): Promise<z.infer<T>[]> {
    return type.array().parse(JSON.parse(await this.#send("GET", path, 200))) as z.infer<T>[];
  }

  async #one<T extends z.ZodType>(
    type: T,
    path: string,
    method = "GET",
    status = 200,
    body?: Fields,
  ): Promise<z.infer<T>> {
    return type.parse(JSON.parse(await this.#send(method, path, status, body))) as z.infer<T>;
  }

  async #send(method: string, path: string, expected: number | number[], body?: Fields): Promise<string> {
    const { status, text } = await this.#ask(method, path, body);
    if (![expected].flat().includes(status)) throw new Unexpected(`${method} ${path}`, status, text);
    // Scripts around Ring read its answers with grep and sed.
    if (/^[[{]/.test(text) && text !== JSON.stringify(JSON.parse(text)))
      throw new Error(`${path}: the JSON is not compact`);
    return text;
  }

  async #ask(method: string, path: string, body?: Fields): Promise<{ status: number; text: string }> {
    const init: RequestInit = { method, headers: this.#headers() };
    if (body !== undefined) {
      init.headers = { ...this.#headers(), "content-type": "application/json" };
      init.body = JSON.stringify(body);
    }
    const response = await this.#carry(path, init);
    return { status: response.status, text: await response.text() };
  }

  #headers(): Record<string, string> {
    return { accept: "*/*", ...(this.token === null ? {} : { authorization: `Bearer ${this.token}` }) };
  }
}

/** A deployment as Ring's command line sends it: every field, null where nothing was written, and read-only mounts of configs and secrets. */
export function deploymentBody(written: Fields): Fields {
  const list = (field: string) => (written[field] as Fields[] | undefined) ?? [];
  const config = written.config as Fields | undefined;
  return {
    name: written.name,
    namespace: written.namespace ?? "",
    runtime: written.runtime ?? "docker",
    kind: written.kind ?? "worker",
    image: written.image,
    replicas: written.replicas ?? 0,
    command: written.command ?? [],
    labels: Array.isArray(written.labels) ? Object.assign({}, ...written.labels) : (written.labels ?? {}),
    environment: written.environment ?? {},
    ports: list("ports").map((one) => ({ host_ip: null, protocol: "tcp", ...one })),
    volumes: list("volumes").map((one) => ({
      key: null,
      driver: "local",
      ...one,
      permission: one.type === "config" || one.type === "secret" ? "ro" : (one.permission ?? "rw"),
    })),
    health_checks: list("health_checks").map((one) => ({
      threshold: 3,
      readiness: false,
      min_healthy_time: null,
      start_period: null,
      ...one,
    })),
    resources: written.resources ?? null,
    ...(written.autoscale === undefined ? {} : { autoscale: written.autoscale }),
    config: config
      ? { image_pull_policy: "Always", server: null, username: null, password: null, user: null, ...config }
      : null,
    network: written.network ?? null,
  };
}
