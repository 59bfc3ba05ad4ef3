import { z } from "zod";
import { BuildList } from "../../contract/build.ts";
import { BuildId, KeyId } from "../../contract/id.ts";
import { InstanceView } from "../../contract/instance.ts";
import type { InstanceAction } from "../../contract/instance-action.ts";
import { RedeployBody, ResizeBody } from "../../contract/instance-check.ts";
import { KeyCreate, KeyCreated, KeyView } from "../../contract/instance-key.ts";
import type { Answer } from "../../contract/request.ts";
import type { ActInput } from "../../objects/instance/creation.ts";
import { jsonText, resource } from "../answer.ts";
import { BUILD, INSTANCE } from "../instance-example.ts";
import { unwrap } from "../problem.ts";
import { type Ask, type BodyRule, type Route, route } from "../route.ts";
import { call } from "../stub.ts";
import { INSTANCE_PARAMS, instanceStub } from "./instances.ts";

/** What each action says of itself in the documentation. */
export const ACTION_TEXTS: Record<InstanceAction, { summary: string; description: string }> = {
  provision: {
    summary: "Provision an instance",
    description:
      "Tests the source from the host that will run the engine, waits for build capacity, compiles the engine and rolls it out.",
  },
  rebuild: {
    summary: "Rebuild an instance",
    description:
      "Reads schema and `config` again, compiles, and rolls out. An engine that serves goes on until the new one has loaded; if anything fails it stays.",
  },
  reconfigure: {
    summary: "Apply the stored settings",
    description: "Rolls the present build out with the settings as they are stored. Needs no build.",
  },
  redeploy: {
    summary: "Deploy an earlier build",
    description: "Rolls out the build that is named; it must be `deployable` in the list of builds.",
  },
  resize: {
    summary: "Resize an instance",
    description:
      "From `registered`, `paused` and `stopped` the size is only stored. From `running` an engine of that size is rolled out. From `deploying` the rollout starts anew at that size, which rescues one that is out of memory.",
  },
  pause: {
    summary: "Pause an instance",
    description: "Scales it to zero; queued while it is queued, building, deploying or resuming.",
  },
  resume: {
    summary: "Resume an instance",
    description:
      "Starts the deployed build at the stored size with the connection's present credentials; queued while pausing.",
  },
  terminate: {
    summary: "Terminate an instance",
    description:
      "Nothing of it is left to run, and no build is kept. Queued while queued, building, deploying, pausing or resuming; not to be undone once it has started.",
  },
  delete: {
    summary: "Delete an instance",
    description: "Its record goes. The same as `DELETE /instances/:id`.",
  },
  reload: {
    summary: "Load everything anew",
    description: "The engine reads its whole snapshot again, and serves the old one meanwhile.",
  },
  "pause-replication": {
    summary: "Pause replication",
    description: "Queries are answered from the snapshot as it is. Paused already is success.",
  },
  "resume-replication": {
    summary: "Resume replication",
    description: "It catches up from its checkpoint, or loads anew when the source's log does not reach back so far.",
  },
};

export const ACTION_ANSWERS = {
  202: {
    description: "Started, or queued (`desired_state` is then set): the instance, with `allowedActions`",
    schema: InstanceView,
    example: INSTANCE,
  },
};

export async function act<B>(ask: Ask<unknown, B>, action: InstanceAction, input: ActInput): Promise<Response> {
  const mutation = await ask.mutation();
  const { namespaces } = ask.principal;
  return resource(
    unwrap(await call(instanceStub(ask), (instance) => instance.act(action, input, mutation, namespaces))),
  );
}

type Plain = Exclude<InstanceAction, "resize" | "redeploy" | "delete">;
const PLAIN: readonly Plain[] = [
  "provision",
  "rebuild",
  "reconfigure",
  "pause",
  "resume",
  "terminate",
  "reload",
  "pause-replication",
  "resume-replication",
];

const head = (action: InstanceAction) => ({
  method: "POST" as const,
  path: `/instances/:id/${action}`,
  access: "instances:write" as const,
  group: "Instances",
  ...ACTION_TEXTS[action],
  params: INSTANCE_PARAMS,
  mutation: ["idempotency", "if-match"] as const,
  problems: ["action_not_allowed", "goal_conflict"] as const,
});

const withBody = <B>(action: InstanceAction, body: BodyRule<B>, inputOf: (body: B) => ActInput): Route =>
  route({
    ...head(action),
    body,
    answers: ACTION_ANSWERS,
    handle: (ask: Ask<unknown, B>) => act(ask, action, inputOf(ask.body)),
  });

const deletion = (method: "DELETE" | "POST", path: string): Route =>
  route({
    ...head("delete"),
    method,
    path,
    answers: { 204: { description: "Deleted" } },
    handle: (ask) => act(ask, "delete", {}),
  });

export const INSTANCE_ACTION_ROUTES = [
  ...PLAIN.map((action) => route({ ...head(action), answers: ACTION_ANSWERS, handle: (ask) => act(ask, action, {}) })),
  withBody("resize", { schema: ResizeBody, example: { size: "small" } }, ({ size }) => ({ size })),
  withBody("redeploy", { schema: RedeployBody, example: { build_id: BUILD.id } }, ({ build_id }) => ({ build_id })),
  deletion("POST", "/instances/:id/delete"),
  deletion("DELETE", "/instances/:id"),
  route({
    method: "POST",
    path: "/instances/:id/cancel-goal",
    access: "instances:write",
    group: "Instances",
    summary: "Withdraw the queued action",
    description: "What is under way goes on.",
    params: INSTANCE_PARAMS,
    mutation: ["idempotency", "if-match"],
    answers: { 200: { description: "The instance", schema: InstanceView, example: INSTANCE } },
    problems: ["action_not_allowed"],
    handle: async (ask) => resource(await cancelledGoal(ask)),
  }),
  route({
    method: "GET",
    path: "/instances/:id/builds",
    access: "instances:read",
    group: "Instances",
    summary: "Builds of an instance",
    description: "Newest first.",
    params: INSTANCE_PARAMS,
    answers: {
      200: { description: "The builds", schema: BuildList, example: { builds: [BUILD], active_build_id: null } },
    },
    handle: async (ask) =>
      jsonText(unwrap(await call(instanceStub(ask), (instance) => instance.builds(ask.principal.namespaces)))),
  }),
  route({
    method: "POST",
    path: "/instances/:id/builds/:build/cancel",
    access: "instances:write",
    group: "Instances",
    summary: "Cancel a build",
    description:
      "One that waits for its turn or runs. It ends as one that failed does, with `build_cancelled`: an engine that serves goes on, and a queued action is done.",
    params: { ...INSTANCE_PARAMS, build: BuildId },
    mutation: ["idempotency", "if-match"],
    answers: { 200: { description: "The instance", schema: InstanceView, example: INSTANCE } },
    problems: ["action_not_allowed"],
    handle: async (ask) => {
      const mutation = await ask.mutation();
      const { namespaces } = ask.principal;
      const build = ask.params.build as string;
      return resource(
        unwrap(await call(instanceStub(ask), (instance) => instance.cancelBuild(build, mutation, namespaces))),
      );
    },
  }),
  route({
    method: "POST",
    path: "/instances/:id/keys",
    access: "instances:write",
    group: "Instances",
    summary: "Make a key",
    description:
      "With which the instance is queried: `Authorization: Bearer rxk_…`. Engines check keys without asking anybody; `tables` and `rows` limit what it sees.",
    params: INSTANCE_PARAMS,
    body: { schema: KeyCreate, example: { name: "storefront", tables: ["products", "prices"] } },
    mutation: ["idempotency"],
    answers: { 201: { description: "The key, shown once", schema: KeyCreated } },
    problems: ["secret_key_missing"],
    handle: async (ask) => {
      const mutation = await ask.mutation();
      const { namespaces } = ask.principal;
      const reply = await call(instanceStub(ask), (instance) => instance.createKey(ask.body, mutation, namespaces));
      return resource(unwrap(reply), { "cache-control": "no-store" });
    },
  }),
  route({
    method: "GET",
    path: "/instances/:id/keys",
    access: "instances:read",
    group: "Instances",
    summary: "Keys of an instance",
    params: INSTANCE_PARAMS,
    answers: { 200: { description: "The keys, without what opens anything", schema: z.array(KeyView) } },
    handle: async (ask) =>
      jsonText(unwrap(await call(instanceStub(ask), (instance) => instance.keys(ask.principal.namespaces)))),
  }),
  route({
    method: "DELETE",
    path: "/instances/:id/keys/:key",
    access: "instances:write",
    group: "Instances",
    summary: "Revoke a key",
    description: "The engine is told at once.",
    params: { ...INSTANCE_PARAMS, key: KeyId },
    mutation: ["idempotency"],
    answers: { 204: { description: "Revoked" } },
    handle: async (ask) => {
      const mutation = await ask.mutation();
      const { namespaces } = ask.principal;
      const key = ask.params.key as string;
      return resource(
        unwrap(await call(instanceStub(ask), (instance) => instance.revokeKey(key, mutation, namespaces))),
      );
    },
  }),
];

export async function cancelledGoal(ask: Ask): Promise<Answer> {
  const mutation = await ask.mutation();
  const { namespaces } = ask.principal;
  return unwrap(await call(instanceStub(ask), (instance) => instance.cancelGoal(mutation, namespaces)));
}
