import { z } from "zod";
import { AllowedActions } from "../../contract/action.ts";
import type { BuildList, BuildView } from "../../contract/build.ts";
import type { ConnectionView } from "../../contract/connection.ts";
import { ID_PREFIX, InstanceId } from "../../contract/id.ts";
import type { InstanceView } from "../../contract/instance.ts";
import { INSTANCE_ACTIONS, type InstanceAction } from "../../contract/instance-action.ts";
import type { InstanceSettings } from "../../contract/instance-settings.ts";
import { InstanceSize, taskOf } from "../../contract/instance-size.ts";
import type { Violation } from "../../contract/problem.ts";
import type { Answer } from "../../contract/request.ts";
import { DATABASE_LABEL } from "../../objects/instance/record.ts";
import { remote } from "../../objects/remote.ts";
import { jsonText } from "../answer.ts";
import { ActionAnswer } from "../instance-answer.ts";
import { BUILD } from "../instance-example.ts";
import { listRows, shardsOf } from "../listing.ts";
import { fail, unwrap } from "../problem.ts";
import { type Ask, type BodyRule, type Route, route } from "../route.ts";
import { call } from "../stub.ts";
import { checkBody } from "../violations.ts";
import { ACTION_TEXTS, cancelledGoal } from "./instance-actions.ts";
import { instanceStub } from "./instances.ts";

/**
 * The paths of the source's documents, where what we call an instance is a database: for an instance's id, or that of a managed database that one
 * instance reads from. Fields are called as they are there.
 */

/** The same request about the instance that is meant. */
async function meant<B>(ask: Ask<unknown, B>): Promise<Ask<unknown, B>> {
  const id = ask.params.id as string;
  if (InstanceId.safeParse(id).success) return ask;
  const namespaces = ask.principal.namespaces;
  const { bodies } = await listRows(ask.env, shardsOf(namespaces), {
    kind: "instance",
    namespaces,
    names: [],
    statuses: [],
    types: [],
    labels: [[DATABASE_LABEL, id]],
    before: null,
    limit: 2,
  });
  const [found, another] = bodies.map((body) => (JSON.parse(body) as InstanceView).id);
  if (found === undefined) fail("not_found", `No instance reads from ${JSON.stringify(id.slice(0, 100))}.`);
  if (another !== undefined)
    fail("not_found", `Several instances read from ${id}: name one of them, such as ${found}.`);
  return { ...ask, params: { ...ask.params, id: found } };
}

const params = {
  id: z
    .string()
    .regex(
      new RegExp(`^(${ID_PREFIX.instance}|db)_[0-9a-hjkmnp-tv-z]{26}$`),
      "expected the id of an instance or a database",
    ),
};

const Camel = z.looseObject({});
const InstanceStatusView = z.object({
  database: Camel.describe("Name, status, desiredState, lastError, endpointUrl, sizes and settings"),
  connection: Camel,
  deployedInstanceConfig: Camel.nullable(),
  hasPendingChanges: z.boolean(),
  instance: Camel.nullable().describe("What serves: endpointUrl, healthStatus, snapshotAgeMs, swapCount, rowCounts"),
  latestBuild: Camel.nullable(),
  allowedActions: AllowedActions,
});

const Builds = z.object({ builds: z.array(Camel), activeBuildId: z.string().nullable() });

const configOf = ({ size, sync_mode, sync_interval, log_level, safety_net }: InstanceSettings) => ({
  instanceSize: size,
  ...taskOf(size),
  syncMode: sync_mode,
  syncInterval: sync_interval,
  logLevel: log_level,
  safetyNet: safety_net,
});

/** An instance in the words of the source's documents. */
function statusView(view: InstanceView, connection: ConnectionView): z.input<typeof InstanceStatusView> {
  const { vitals, latest_build, pause_schedule } = view;
  return {
    database: {
      id: view.id,
      connectionId: view.connection_id,
      name: view.name,
      mysqlDb: view.schema,
      status: view.status,
      desiredState: view.desired_state,
      lastError: view.last_error?.message ?? null,
      endpointUrl: view.endpoint_url,
      healthStatus: view.health,
      region: view.region,
      ...configOf(view.settings),
      binlogServerId: view.settings.binlog_server_id,
      replication_paused: view.replication_paused,
      pauseSchedule: pause_schedule && {
        pauseAt: pause_schedule.pause_at,
        resumeAt: pause_schedule.resume_at,
        days: pause_schedule.days,
        timeZone: pause_schedule.time_zone,
      },
      createdAt: view.created_at,
      updatedAt: view.updated_at,
    },
    connection: {
      id: connection.id,
      name: connection.name,
      minSyncInterval: connection.min_sync_interval,
      allowedSyncModes: connection.allowed_sync_modes,
      availableSchemas: connection.schemas,
    },
    deployedInstanceConfig: view.deployed && configOf(view.deployed),
    hasPendingChanges: view.pending_changes.length > 0,
    instance:
      view.build_id === null
        ? null
        : {
            id: view.id,
            databaseId: view.id,
            buildId: view.build_id,
            endpointUrl: view.endpoint_url,
            healthStatus: view.health,
            snapshotAgeMs: vitals?.snapshot_age_ms ?? null,
            swapCount: vitals?.swap_count ?? null,
            rowCounts: vitals?.row_counts ?? {},
          },
    latestBuild: latest_build && buildOf(latest_build),
    allowedActions: view.allowedActions,
  };
}

const buildOf = ({ id, instance_id, status, deployable, created_at, finished_at, duration_seconds }: BuildView) => ({
  id,
  databaseId: instance_id,
  status,
  deployable,
  createdAt: created_at,
  finishedAt: finished_at,
  buildDurationSeconds: duration_seconds,
});

/** What the source's documents say that an action answers, and the goal. */
function actionAnswer(action: InstanceAction | "cancel-goal", { body, status }: Answer): Response {
  if (status === 204) return new Response(null, { status: 204 });
  const view = JSON.parse(body) as InstanceView;
  const isReplication = action === "pause-replication" || action === "resume-replication";
  const answer = {
    status: view.status,
    desiredState: view.desired_state,
    // What is queued is the goal; a goal that was there before is not what was asked for now.
    mode: view.goal?.action === action ? "queued" : "immediate",
    ...(isReplication ? { replication_paused: view.replication_paused } : {}),
    allowedActions: view.allowedActions,
  };
  return jsonText(JSON.stringify(answer), { etag: `"r${view.revision}"` }, action === "cancel-goal" ? 200 : 202);
}

type Input = { build_id?: string | undefined; size?: InstanceSize | undefined };
const given = <T extends z.ZodObject>(
  schema: T,
  to: (value: z.output<T>) => Input,
  example: z.input<T>,
): BodyRule<Input> => ({
  schema: schema as unknown as z.ZodType<Input>,
  check: (value): { ok: true; value: Input } | { ok: false; violations: Violation[] } => {
    const checked = checkBody(schema, value);
    return checked.ok ? { ok: true, value: to(checked.value as z.output<T>) } : checked;
  },
  example,
});

const BODIES: Partial<Record<InstanceAction, BodyRule<Input>>> = {
  resize: given(z.strictObject({ instanceSize: InstanceSize }), ({ instanceSize: size }) => ({ size }), {
    instanceSize: "small",
  }),
  redeploy: given(z.strictObject({ buildId: z.string() }), ({ buildId: build_id }) => ({ build_id }), {
    buildId: BUILD.id,
  }),
};

const actionRoute = (action: InstanceAction): Route => {
  const body = BODIES[action];
  return route({
    method: "POST",
    path: `/databases/:id/${action}`,
    access: "instances:write",
    group: "Instances",
    summary: `${ACTION_TEXTS[action].summary}, by the source's path`,
    description: `${ACTION_TEXTS[action].description} For an instance's id, or a database's when one instance reads from it.`,
    params,
    ...(body === undefined ? {} : { body }),
    mutation: ["idempotency", "if-match"],
    answers:
      action === "delete"
        ? { 204: { description: "Deleted" } }
        : { 202: { description: "Started, or queued", schema: ActionAnswer } },
    problems: ["action_not_allowed", "goal_conflict"],
    handle: async (ask: Ask<unknown, Input | undefined>) => {
      const about = await meant(ask);
      const mutation = await ask.mutation();
      const reply = await call(instanceStub(about), (instance) =>
        instance.act(action, ask.body ?? {}, mutation, ask.principal.namespaces),
      );
      return actionAnswer(action, unwrap(reply));
    },
  });
};

const cancellation = (method: "DELETE" | "POST", path: string): Route =>
  route({
    method,
    path,
    access: "instances:write",
    group: "Instances",
    summary: "Withdraw the queued action, by the source's path",
    params,
    mutation: ["idempotency", "if-match"],
    answers: { 200: { description: "Withdrawn", schema: ActionAnswer } },
    problems: ["action_not_allowed"],
    handle: async (ask) => actionAnswer("cancel-goal", await cancelledGoal(await meant(ask))),
  });

export const DATABASE_INSTANCE = [
  route({
    method: "GET",
    path: "/databases/:id/instance",
    access: "instances:read",
    group: "Instances",
    summary: "An instance, by the source's path",
    description:
      "For an instance's id, or a database's when one instance reads from it. Fields are called as in the source's documents.",
    params,
    answers: { 200: { description: "Status, goal, and the whole matrix of actions", schema: InstanceStatusView } },
    handle: async (ask) => {
      const about = await meant(ask);
      const { namespaces } = ask.principal;
      const answer = unwrap(await call(instanceStub(about), (instance) => instance.read(namespaces)));
      const view = JSON.parse(answer.body) as InstanceView;
      const through = () => remote(ask.env.CONNECTION, view.connection_id);
      const { body } = unwrap(await call(through, (connection) => connection.read(namespaces)));
      return jsonText(JSON.stringify(statusView(view, JSON.parse(body) as ConnectionView)), {
        etag: `"r${answer.revision}"`,
      });
    },
  }),
  route({
    method: "GET",
    path: "/databases/:id/builds",
    access: "instances:read",
    group: "Instances",
    summary: "Builds of an instance, by the source's path",
    description: "Newest first.",
    params,
    answers: { 200: { description: "The builds, and the one that is queued or under way", schema: Builds } },
    handle: async (ask) => {
      const about = await meant(ask);
      const text = unwrap(await call(instanceStub(about), (instance) => instance.builds(ask.principal.namespaces)));
      const { builds, active_build_id } = JSON.parse(text) as z.infer<typeof BuildList>;
      return jsonText(JSON.stringify({ builds: builds.map(buildOf), activeBuildId: active_build_id }));
    },
  }),
  cancellation("DELETE", "/databases/:id/desired-state"),
  cancellation("POST", "/databases/:id/cancel-goal"),
  // A database of ours has a life of its own: what its own routes call `delete`, `pause` and `resume` is not meant here.
  ...INSTANCE_ACTIONS.map(actionRoute),
];
