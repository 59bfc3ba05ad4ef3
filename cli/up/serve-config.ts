/** The Durable Object classes and the names under which the Worker finds them: as in wrangler.toml, which a test compares. */
export const OBJECTS = {
  DEPLOYMENT: "DeploymentObject",
  HOST: "HostObject",
  NAMESPACE: "NamespaceObject",
  INDEX: "IndexObject",
  DATABASE: "DatabaseObject",
  SCHEDULE: "ScheduleObject",
  TOKEN: "TokenObject",
  USER: "UserDirectoryObject",
  WEBHOOK: "WebhookObject",
  HOOK: "HookObject",
  CONNECTION: "ConnectionObject",
  INSTANCE: "InstanceObject",
  BUILD_QUEUE: "BuildQueueObject",
} as const;
export const COMPATIBILITY_DATE = "2026-10-23";

export type ServeSettings = {
  modulePath: string;
  stateDir: string;
  host: string;
  port: number;
  tokenHash: string;
  /** What secrets are sealed with; without it none can be kept. */
  secretKeys?: string | undefined;
  lostAfterMs?: number | undefined;
  /** Of OPERATOR_VARIABLES, those that are set. */
  variables?: Record<string, string> | undefined;
  /** `any`: webhooks may also go to this machine and its networks, by http too. */
  webhookTargets?: "public" | "any" | undefined;
};

/** What wrangler.toml says on Cloudflare, and on one machine the environment of `lamplighter up`. */
export const OPERATOR_VARIABLES = [
  "METRICS_PUBLIC",
  "CLIENT_ADDRESS_HEADER",
  "BUILD_CAPACITY",
  "KEEPERS",
  "KEEPER_QUORUM",
  "GATEWAY_ADDRESS",
  "GATEWAY_SERVER_NAMES",
] as const;

export const operatorVariables = (env: Record<string, string | undefined>): Record<string, string> =>
  Object.fromEntries(OPERATOR_VARIABLES.flatMap((name) => (env[name] ? [[name, env[name]] as const] : [])));

/** The text of workerd's configuration file. */
export function serveConfig(settings: ServeSettings): string {
  const { modulePath, stateDir, host, port, tokenHash, secretKeys, lostAfterMs, variables = {} } = settings;
  const { webhookTargets = "public" } = settings;
  const address = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  const objects = Object.entries(OBJECTS);
  const texts: [string, string][] = [
    ["ROOT_TOKEN_HASH", tokenHash],
    ["WEBHOOK_TARGETS", webhookTargets],
  ];
  if (secretKeys !== undefined) texts.push(["SECRET_KEYS", secretKeys]);
  if (lostAfterMs !== undefined) texts.push(["LOST_AFTER_MS", String(lostAfterMs)]);
  texts.push(...Object.entries(variables));
  // `private` lets the control plane call agents on this machine and in the local network. Webhooks leave by a network of their own: what
  // it does not allow is refused when it connects, whatever a name resolves to then.
  const egress = webhookTargets === "any" ? '"public", "private"' : '"public"';
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .mainWorker),
    (name = "state", disk = (path = ${text(stateDir)}, writable = true)),
    (name = "internet", network = (allow = ["public", "private"], tlsOptions = (trustBrowserCas = true))),
    (name = "egress", network = (allow = [${egress}], tlsOptions = (trustBrowserCas = true))),
  ],
  sockets = [(name = "http", address = ${text(address)}, http = (), service = "main")],
);
const mainWorker :Workerd.Worker = (
  modules = [(name = "index.js", esModule = embed ${text(modulePath)})],
  compatibilityDate = ${text(COMPATIBILITY_DATE)},
  bindings = [
${texts.map(([name, value]) => `    (name = ${text(name)}, text = ${text(value)}),`).join("\n")}
    (name = "EGRESS", service = "egress"),
${objects.map(([name, className]) => `    (name = ${text(name)}, durableObjectNamespace = ${text(className)}),`).join("\n")}
  ],
  durableObjectNamespaces = [
${objects.map(([, className]) => `    (className = ${text(className)}, uniqueKey = ${text(`lamplighter-${className}`)}, enableSql = true),`).join("\n")}
  ],
  durableObjectStorage = (localDisk = "state"),
);
`;
}

const text = (value: string): string => JSON.stringify(value);
