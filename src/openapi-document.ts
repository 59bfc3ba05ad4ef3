import { z } from "zod";
import { AllowedActions } from "../contract/action.ts";
import { BuildView } from "../contract/build.ts";
import { ConfigView } from "../contract/config.ts";
import { ConnectionCreate, ConnectionPatch, ConnectionView, TestResult } from "../contract/connection.ts";
import { CredentialView, DatabaseView, LeaseView, StartView } from "../contract/database.ts";
import { DeploymentView, InstanceView } from "../contract/deployment.ts";
import { AuditEntry, JournalEvent } from "../contract/event.ts";
import { Explanation } from "../contract/explanation.ts";
import { EnrolAnswer, EnrolRequest } from "../contract/frame.ts";
import { HealthResultView } from "../contract/health.ts";
import { HookCreate, HookCreated, HookDelivery, HookView } from "../contract/hook.ts";
import { HostView } from "../contract/host.ts";
import { InstanceView as EngineInstanceView } from "../contract/instance.ts";
import { InstanceCreate, InstancePatch } from "../contract/instance-check.ts";
import { Report, ReportAnswer } from "../contract/instance-report.ts";
import { Manifest } from "../contract/manifest.ts";
import { ManifestView } from "../contract/manifest-view.ts";
import { NamespaceView } from "../contract/namespace.ts";
import { HostNode } from "../contract/node.ts";
import { PROBLEMS, Problem, type ProblemCode, problemBody, Violation } from "../contract/problem.ts";
import { RevisionView } from "../contract/rollout.ts";
import { ScheduleView } from "../contract/schedule.ts";
import { Principal } from "../contract/scope.ts";
import { SecretView } from "../contract/secret.ts";
import { JoinTokenCreate, TokenCreate, TokenCreated, TokenView } from "../contract/token.ts";
import { LoggedIn, UserView } from "../contract/user.ts";
import { VolumeView } from "../contract/volume.ts";
import {
  WebhookAttempt,
  WebhookCreate,
  WebhookCreated,
  WebhookDelivery,
  WebhookPatch,
  WebhookView,
} from "../contract/webhook-endpoint.ts";
import { ExecResult, InstanceStats, LogLine } from "../contract/workload.ts";
import { ActionAnswer } from "./instance-answer.ts";
import type { Answered, Route } from "./route.ts";

/** The schemas that have a name of their own in the document: those that are answered, and those that are sent. */
const ANSWERED: Record<string, z.ZodType> = {
  Deployment: DeploymentView,
  Instance: InstanceView,
  Revision: RevisionView,
  Explanation,
  ManifestAsStored: ManifestView,
  HealthResult: HealthResultView,
  Schedule: ScheduleView,
  Database: DatabaseView,
  DatabaseLease: LeaseView,
  DatabaseStart: StartView,
  DatabaseCredential: CredentialView,
  Host: HostView,
  Node: HostNode,
  Namespace: NamespaceView,
  Config: ConfigView,
  Secret: SecretView,
  Volume: VolumeView,
  User: UserView,
  Login: LoggedIn,
  Token: TokenView,
  TokenWithSecret: TokenCreated,
  Webhook: WebhookView,
  WebhookWithSecret: WebhookCreated,
  WebhookDelivery,
  WebhookAttempt,
  Hook: HookView,
  HookWithSecret: HookCreated,
  HookDelivery,
  Event: JournalEvent,
  AuditEntry,
  LogLine,
  ExecResult,
  InstanceStats,
  Principal,
  AllowedActions,
  EngineInstance: EngineInstanceView,
  InstanceBuild: BuildView,
  Connection: ConnectionView,
  SourceTest: TestResult,
  InstanceActionAnswer: ActionAnswer,
  ReportAnswer,
  Enrolled: EnrolAnswer,
  Problem,
  Violation,
};
const SENT: Record<string, z.ZodType> = {
  Manifest,
  TokenCreate,
  JoinTokenCreate,
  WebhookCreate,
  WebhookPatch,
  HookCreate,
  EnrolRequest,
  InstanceCreate,
  InstancePatch,
  ConnectionCreate,
  ConnectionPatch,
  Report,
};

type Json = Record<string, unknown>;
type Parameter = { name: string; in: string; required?: boolean; description?: string; schema: Json };
export type Operation = {
  operationId: string;
  tags: string[];
  summary: string;
  description?: string;
  security: Record<string, string[]>[];
  "x-scope": string;
  parameters?: Parameter[];
  requestBody?: { required: true; content: Record<string, { schema: Json; example: unknown }> };
  responses: Record<string, Json>;
};
export type Document = {
  openapi: string;
  info: Json;
  servers: Json[];
  tags: { name: string }[];
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Json>; examples: Json; securitySchemes: Json };
};

const INTRODUCTION = `Lamplighter lights compute when it is needed and puts it out when it is not.

Every request but the open ones carries \`Authorization: Bearer lamp_…\`. Every route answers under \`/\` and under \`/v1\`. Times are RFC 3339 in UTC. Lists are plain arrays, newest first; a \`Link\` header leads to the next page. A resource's \`ETag\` is its revision: send it back in \`If-Match\` to change only what you have seen. Errors are \`application/problem+json\` with a stable \`code\` and every violation at once. \`X-Request-Id\` is taken from the request or made, and is in every answer.`;

/** The OpenAPI 3.1 document of these routes. */
export function documentOf(routes: readonly Route[]): Document {
  const sent = z.registry<{ id: string }>();
  const answered = z.registry<{ id: string }>();
  const add = (registry: typeof sent, schema: z.ZodType, id: string) => {
    if (!registry.has(schema)) registry.add(schema, { id });
  };
  for (const [id, schema] of Object.entries(SENT)) add(sent, schema, id);
  for (const [id, schema] of Object.entries(ANSWERED)) add(answered, schema, id);
  for (const route of routes) {
    const id = operationId(route);
    if (route.body) add(sent, route.body.schema, `${id}.body`);
    if (route.query) add(sent, route.query, `${id}.query`);
    for (const [status, { schema }] of Object.entries(route.answers))
      if (schema) add(answered, schema, `${id}.${status}`);
  }
  const schemas = { sent: convert(sent, "input"), answered: convert(answered, "output") };
  const inline = (io: keyof typeof schemas, schema: z.ZodType): Json => {
    const id = (io === "sent" ? sent : answered).get(schema)?.id as string;
    return id.includes(".") ? (schemas[io][id] as Json) : { $ref: `#/components/schemas/${id}` };
  };
  const named = (part: Record<string, Json>) => Object.entries(part).filter(([id]) => !id.includes("."));
  const paths: Document["paths"] = {};
  for (const route of routes) {
    const path = route.path.replaceAll(/:(\w+)/g, "{$1}");
    paths[path] ??= {};
    paths[path][route.method.toLowerCase()] = operation(route, inline);
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Lamplighter",
      version: "1",
      description: INTRODUCTION,
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "/v1" }, { url: "/" }],
    tags: [...new Set(routes.map(({ group }) => group))].map((name) => ({ name })),
    paths,
    components: {
      schemas: Object.fromEntries([...named(schemas.sent), ...named(schemas.answered)]),
      examples: Object.fromEntries(
        Object.keys(PROBLEMS).map((code) => [code, { value: exampleOf(code as ProblemCode) }]),
      ),
      securitySchemes: {
        token: { type: "http", scheme: "bearer", description: "`lamp_<id>_<secret>`, or the root token" },
      },
    },
  };
}

const exampleOf = (code: ProblemCode) =>
  problemBody({ code, detail: PROBLEMS[code].help }, "req_01k9j5w0n1c3e5g7j9m2p4r6t8");

function convert(
  registry: ReturnType<typeof z.registry<{ id: string }>>,
  io: "input" | "output",
): Record<string, Json> {
  const { schemas } = z.toJSONSchema(registry, {
    io,
    unrepresentable: "any",
    uri: (id) => `#/components/schemas/${id}`,
    override: ({ jsonSchema }) => {
      // Answers may gain fields; only what is sent is refused for a field that is not known.
      if (io === "output" && jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties;
      // The largest integer that JavaScript can hold is no rule of this API.
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
      if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
      // A flag may be written in several ways; it is a boolean.
      if (jsonSchema.enum?.includes("true") && jsonSchema.enum.includes("false")) {
        delete jsonSchema.enum;
        jsonSchema.type = "boolean";
      }
      // What `format` says already, and what every JSON object's keys are.
      if (jsonSchema.format === "date-time") delete jsonSchema.pattern;
      if (JSON.stringify(jsonSchema.propertyNames) === '{"type":"string"}') delete jsonSchema.propertyNames;
    },
  });
  return Object.fromEntries(
    Object.entries(schemas).map(([id, { $schema: _, $id: __, ...schema }]) => [id, schema as Json]),
  );
}

type Inline = (io: "sent" | "answered", schema: z.ZodType) => Json;

function operation(route: Route, inline: Inline): Operation {
  const responses: Record<string, Json> = {};
  for (const [status, answered] of Object.entries(route.answers)) responses[status] = response(answered, inline);
  for (const [status, codes] of Map.groupBy(problemsOf(route), (code) => PROBLEMS[code].status)) {
    const examples = Object.fromEntries(codes.map((code) => [code, { $ref: `#/components/examples/${code}` }]));
    responses[status] = {
      description: codes.map((code) => `\`${code}\`: ${PROBLEMS[code].title}`).join("; "),
      content: { "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" }, examples } },
      "x-codes": codes,
    };
  }
  const parameters = [...pathParameters(route), ...queryParameters(route, inline), ...headerParameters(route)];
  return {
    operationId: operationId(route),
    tags: [route.group],
    summary: route.summary,
    ...(route.description === undefined ? {} : { description: route.description }),
    security: isOpen(route) ? [] : [{ token: route.access === "any" ? [] : [route.access] }],
    "x-scope": route.access,
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(route.body
      ? {
          requestBody: {
            required: true,
            content: { "application/json": { schema: inline("sent", route.body.schema), example: route.body.example } },
          },
        }
      : {}),
    responses: Object.fromEntries(Object.entries(responses).sort(([a], [b]) => Number(a) - Number(b))),
  };
}

function response(answered: Answered, inline: Inline): Json {
  const { description, schema, media = ["application/json"], example, headers = {} } = answered;
  const content = Object.fromEntries(
    media.map((type) => {
      const json = type === "application/json";
      if (!json || schema === undefined) return [type, { schema: { type: json ? "object" : "string" } }];
      return [type, { schema: inline("answered", schema), ...(example === undefined ? {} : { example }) }];
    }),
  );
  const named = Object.entries(headers).map(([name, text]) => [
    name,
    { description: text, schema: { type: "string" } },
  ]);
  return {
    description,
    ...(named.length > 0 ? { headers: Object.fromEntries(named) } : {}),
    ...(schema !== undefined || answered.media ? { content } : {}),
  };
}

const isOpen = ({ access }: Route): boolean => access === "open" || access === "signed";

/** Every problem that a route can answer: its own, and those that follow from what it takes. */
export function problemsOf(route: Route): ProblemCode[] {
  const { access, params, query, body, mutation = [], problems = [] } = route;
  const codes: (ProblemCode | false)[] = [
    !isOpen(route) && "unauthenticated",
    !isOpen(route) && access !== "any" && "insufficient_scope",
    params !== undefined && "not_found",
    query !== undefined && "malformed_query",
    ...(body ? (["malformed_body", "body_too_large", "unsupported_media_type", "validation_failed"] as const) : []),
    ...(mutation.includes("idempotency") ? (["validation_failed", "idempotency_key_reused"] as const) : []),
    mutation.includes("if-match") && "precondition_failed",
    ...problems,
    access !== "open" && access !== "any" && "overloaded",
    access !== "open" && "internal",
  ];
  return [...new Set(codes.filter((code) => code !== false))];
}

const pathParameters = (route: Route): Parameter[] =>
  [...route.path.matchAll(/:(\w+)/g)].map(([, name]) => ({
    name: name as string,
    in: "path",
    required: true,
    schema: { type: "string" },
  }));

function queryParameters(route: Route, inline: Inline): Parameter[] {
  if (!route.query) return [];
  const { properties = {} } = inline("sent", route.query) as { properties?: Record<string, Json> };
  return Object.entries(properties).map(([name, { description, ...schema }]) => ({
    name,
    in: "query",
    ...(description === undefined ? {} : { description: description as string }),
    schema,
  }));
}

function headerParameters({ mutation = [], answers }: Route): Parameter[] {
  const header = (name: string, description: string): Parameter => ({
    name,
    in: "header",
    description,
    schema: { type: "string" },
  });
  return [
    ...(mutation.includes("idempotency")
      ? [
          header(
            "Idempotency-Key",
            "1 to 255 printable characters: the same request with the same key is carried out once, and answered alike for a day",
          ),
        ]
      : []),
    ...(mutation.includes("if-match")
      ? [header("If-Match", 'An `ETag` such as `"r12"`: refused unless the resource is at this revision')]
      : []),
    ...(mutation.includes("wait")
      ? [header("Prefer", "`wait=N`: answer when it rests, at the latest after N seconds (60 at most)")]
      : []),
    ...(304 in answers
      ? [header("If-None-Match", "An `ETag`: 304 without a body when the resource is still at this revision")]
      : []),
  ];
}

/** `GET /deployments/:id/events` → `getDeploymentsIdEvents`. */
function operationId({ method, path }: Route): string {
  const words = path.split(/[^A-Za-z0-9]+/).filter((word) => word !== "");
  return method.toLowerCase() + words.map((word) => (word[0] ?? "").toUpperCase() + word.slice(1)).join("");
}
