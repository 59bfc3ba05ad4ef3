import { z } from "zod";
import { AllowedActions } from "./action.ts";
import type { SourceStanding } from "./database-reader.ts";
import type { SourceAddress } from "./engine-task.ts";
import { SourceTest } from "./instance-report.ts";
import type { Violation } from "./problem.ts";
import { NAMESPACE_FIELD, type NameRule, nameViolations } from "./resource-name.ts";
import type { Sealed } from "./sealed.ts";
import { SOURCE_KINDS, SOURCE_PORT, SYNC_MODES, TLS_MODES } from "./source-kind.ts";

/** A connection: how instances reach a source. The password is sealed, and never answered. */

export const CONNECTION_NAME: NameRule = {
  least: 1,
  most: 100,
  form: /^[a-z0-9]([-a-z0-9_.]*[a-z0-9])?$/,
  expected: "lower-case letters, digits, `-`, `_` or `.`, starting and ending with a letter or digit",
};

const Host = z
  .string()
  .min(1)
  .max(255)
  .regex(/^[A-Za-z0-9.:_-]+$/, "expected a host name or an IP address");
const Port = z.int().min(1, "expected 1 to 65535").max(65535, "expected 1 to 65535");
const User = z.string().min(1).max(128);
const Password = z.string().max(4096).describe("Write-only: never answered");
const Database = z.string().min(1).max(128);
const Schemas = z.array(z.string().min(1).max(128)).min(1, "expected at least one").max(200);
const Ca = z
  .string()
  .max(65_536)
  .describe("Certificates in PEM that the certificate is checked against; otherwise the host's own roots");
const Modes = z.array(z.enum(SYNC_MODES)).min(1).max(SYNC_MODES.length);
const Interval = z.int().min(1).max(3600);

/** What is needed to reach a source. Of a managed database nothing of it is said: where it is and as whom it is read, is known. */
const address = {
  kind: z.enum(SOURCE_KINDS).optional().describe("`mysql`, which includes MariaDB, when left out"),
  host: Host.optional(),
  port: Port.nullish().describe("3306 for mysql and 5432 for postgres when left out"),
  user: User.optional(),
  password: Password.optional(),
  database: Database.nullish().describe("PostgreSQL: which one; `postgres` when left out"),
  tls: z.enum(TLS_MODES).optional().describe("`require` when left out"),
  ca: Ca.nullish(),
};

export const ConnectionCreate = z.strictObject({
  name: z.string(),
  namespace: z.string().default("default"),
  ...address,
  schemas: Schemas.describe("Those that instances may read"),
  database_id: z
    .string()
    .max(64)
    .nullable()
    .default(null)
    .describe("A managed database of the same namespace, in place of host, user and password"),
  allowed_sync_modes: Modes.default([...SYNC_MODES]),
  min_sync_interval: Interval.default(1).describe("Seconds; no instance takes a shorter one"),
});
export type ConnectionCreate = z.infer<typeof ConnectionCreate>;

export const ConnectionPatch = z.strictObject({
  host: Host.optional(),
  port: Port.optional(),
  user: User.optional(),
  password: Password.optional(),
  database: Database.nullable().optional(),
  tls: z.enum(TLS_MODES).optional(),
  ca: Ca.nullable().optional(),
  schemas: Schemas.optional(),
  allowed_sync_modes: Modes.optional(),
  min_sync_interval: Interval.optional(),
});
export type ConnectionPatch = z.infer<typeof ConnectionPatch>;

/** A source that is only tested, as it would be as a connection's: nothing of it is kept. */
export const ConnectionTrial = z.strictObject({
  namespace: z.string().default("default"),
  ...address,
  host: Host,
  user: User,
  password: Password,
  schemas: Schemas.optional().describe("Each is looked into; otherwise only the server is"),
});
export type ConnectionTrial = z.infer<typeof ConnectionTrial>;

export const trialViolations = ({ namespace }: ConnectionTrial): Violation[] =>
  nameViolations("connection", "namespace", namespace, NAMESPACE_FIELD);

export const connectionViolations = (body: ConnectionCreate): Violation[] => [
  ...nameViolations("connection", "name", body.name, CONNECTION_NAME),
  ...nameViolations("connection", "namespace", body.namespace, NAMESPACE_FIELD),
  ...(body.database_id === null
    ? NEEDED.filter((name) => body[name] === undefined).map(missing)
    : managedViolations(body)),
];

const NEEDED = ["host", "user", "password"] as const;
const OWN = ["host", "port", "user", "password", "database", "tls", "ca"] as const;

const missing = (name: string): Violation => ({
  property_path: name,
  message: "expected, unless database_id names a managed database",
  code: `connection.${name}.required`,
});

/** What nobody may say of a managed database. */
export const managedViolations = (
  body: { kind?: string | undefined } & { [K in (typeof OWN)[number]]?: unknown },
): Violation[] => [
  ...OWN.filter((name) => body[name] != null).map((name) => ({
    property_path: name,
    message: "is the managed database's own: leave it out",
    code: `connection.${name}.managed`,
  })),
  ...(body.kind === undefined || body.kind === "postgres"
    ? []
    : [
        {
          property_path: "kind",
          message: "expected postgres: a managed database is one",
          code: "connection.kind.managed",
        },
      ]),
];

export const ConnectionSpec = z.object({
  kind: z.enum(SOURCE_KINDS),
  /** Null: of a managed database, which has its writer now here and now there. */
  host: z.string().nullable(),
  port: z.int().nullable(),
  user: z.string().nullable(),
  database: z.string().nullable(),
  tls: z.enum(TLS_MODES),
  ca: z.string().nullable(),
  schemas: z.array(z.string()),
  allowed_sync_modes: z.array(z.enum(SYNC_MODES)),
  min_sync_interval: z.int(),
});
export type ConnectionSpec = z.infer<typeof ConnectionSpec>;

export const trialSpec = ({ schemas = [], ...address }: ConnectionTrial): ConnectionSpec =>
  connectionSpec({
    ...{ ...address, schemas, name: "unsaved", database_id: null },
    ...{ allowed_sync_modes: [...SYNC_MODES], min_sync_interval: 1 },
  });

export function connectionSpec(body: ConnectionCreate): ConnectionSpec {
  const { schemas, allowed_sync_modes, min_sync_interval } = body;
  const of = { schemas, allowed_sync_modes, min_sync_interval };
  const { kind = "mysql", host = null, user = null, database = null, tls = "require", ca = null } = body;
  if (body.database_id !== null)
    return { ...of, kind: "postgres", host: null, port: null, user: null, database: null, tls: "disable", ca: null };
  return { ...of, kind, host, port: body.port ?? SOURCE_PORT[kind], user, database, tls, ca };
}

/** A source as an instance's programs are given it; with where it stands, when it is a managed database. */
export type Source = {
  address: z.infer<typeof SourceAddress>;
  password: Sealed;
  standing: SourceStanding | null;
  min_sync_interval: number;
};

const time = z.iso.datetime();

export const CONNECTION_STATUSES = ["untested", "testing", "ok", "failing"] as const;
export const ConnectionStatus = z.enum(CONNECTION_STATUSES);
export type ConnectionStatus = z.infer<typeof ConnectionStatus>;

export const TestResult = SourceTest.extend({ host_id: z.string().nullable(), tested_at: time });
export type TestResult = z.infer<typeof TestResult>;

export const ConnectionView = z.object({
  id: z.string(),
  name: z.string(),
  namespace: z.string(),
  database_id: z.string().nullable(),
  kind: z.enum(SOURCE_KINDS),
  host: z.string().nullable().describe("Null, as port and user, when it leads to a managed database"),
  port: z.int().nullable(),
  user: z.string().nullable(),
  database: z.string().nullable(),
  tls: z.enum(TLS_MODES),
  ca: z.string().nullable(),
  schemas: z.array(z.string()),
  allowed_sync_modes: z.array(z.string()),
  min_sync_interval: z.int(),
  status: ConnectionStatus.describe("What the last test came to"),
  message: z.string(),
  last_test: TestResult.nullable(),
  instances: z.array(z.string()).describe("Ids of the instances that read through it"),
  created_at: time,
  updated_at: time,
  revision: z.int(),
  allowedActions: AllowedActions,
  event_cursor: z.int(),
});
export type ConnectionView = z.infer<typeof ConnectionView>;
