import { z } from "zod";
import { DeploymentView } from "../../contract/deployment.ts";
import { HealthResultView } from "../../contract/health.ts";
import { DeploymentId } from "../../contract/id.ts";
import type { Manifest } from "../../contract/manifest.ts";
import { checkManifest } from "../../contract/manifest-check.ts";
import type { ProblemCode } from "../../contract/problem.ts";
import { RevisionView } from "../../contract/rollout.ts";
import { ROLLOUT_ACTIONS, type RolloutAction } from "../../contract/rollout-action.ts";
import { remote } from "../../objects/remote.ts";
import { jsonText, resource } from "../answer.ts";
import { DEPLOYMENT } from "../example.ts";
import { unwrap } from "../problem.ts";
import { flag, limit } from "../query.ts";
import { type Ask, type Route, route } from "../route.ts";
import { call } from "../stub.ts";
import { refuseBody } from "../violations.ts";
import { deploymentStub } from "./deployments.ts";

const params = { id: DeploymentId };
const SUMMARY: Record<RolloutAction, [summary: string, description: string]> = {
  pause: ["Pause a rolling update", "By the new version's id. Both versions stay as they are, and the deadline waits."],
  resume: ["Resume a rolling update", "By the new version's id."],
  undo: [
    "Undo a rolling update",
    "By the new version's id, while it goes on: the old version takes over again step by step, and the new one is deleted. One that is complete is undone with `rollback`.",
  ],
};

export const ROLLOUTS: readonly Route[] = [
  ...ROLLOUT_ACTIONS.map((action) =>
    route({
      method: "POST",
      path: `/deployments/:id/rollout/${action}`,
      access: "deployments:write",
      group: "Rollouts",
      summary: SUMMARY[action][0],
      description: SUMMARY[action][1],
      params,
      mutation: ["idempotency", "if-match"],
      answers: { 200: { description: "The deployment", schema: DeploymentView, example: DEPLOYMENT } },
      problems: ["action_not_allowed"],
      handle: async (ask) => {
        const mutation = await ask.mutation();
        const { namespaces } = ask.principal;
        return resource(
          unwrap(await call(deploymentStub(ask), (deployment) => deployment.act(action, mutation, namespaces))),
        );
      },
    }),
  ),
  route({
    method: "GET",
    path: "/deployments/:id/revisions",
    access: "deployments:read",
    group: "Rollouts",
    summary: "Revisions of a deployment's name",
    description:
      "Every manifest that was applied to the name, the newest first, and what came of it. The last 20 are kept.",
    params,
    answers: { 200: { description: "The revisions", schema: z.array(RevisionView) } },
    handle: async (ask) => {
      const { name, namespace } = await manifestOf(ask);
      const revisions = await call(
        () => remote(ask.env.NAMESPACE, namespace),
        (object) => object.revisions(name),
      );
      return jsonText(JSON.stringify(revisions));
    },
  }),
  route({
    method: "POST",
    path: "/deployments/:id/rollback",
    access: "deployments:write",
    group: "Rollouts",
    summary: "Go back to an earlier revision",
    description:
      "Applies the manifest of revision `to` again, or of the newest before the present one whose update did not fail. It is a rolling update like any other, and a new revision.",
    params,
    body: { schema: z.strictObject({ to: z.int().positive().nullish() }), example: { to: 3 } },
    mutation: ["idempotency"],
    answers: {
      201: { description: "A new deployment takes over", schema: DeploymentView, example: DEPLOYMENT },
      200: {
        description: "The deployment was changed in place, or is as that revision says already",
        schema: DeploymentView,
      },
    },
    problems: ["action_not_allowed"] satisfies ProblemCode[],
    handle: async (ask) => {
      const { name, namespace } = await manifestOf(ask);
      const [id, to, mutation] = [ask.params.id as string, ask.body.to ?? null, await ask.mutation()];
      return applied(
        ask,
        unwrap(
          await call(
            () => remote(ask.env.NAMESPACE, namespace),
            (object) => object.rollBack(name, id, to, mutation),
          ),
        ),
      );
    },
  }),
  route({
    method: "POST",
    path: "/deployments/:id/scale",
    access: "deployments:write",
    group: "Rollouts",
    summary: "Change the number of replicas",
    description:
      "In place: the instances that are there stay. The same as applying the manifest with another `replicas`.",
    params,
    body: { schema: z.strictObject({ replicas: z.int().min(0).max(1000) }), example: { replicas: 3 } },
    mutation: ["idempotency", "if-match"],
    answers: { 200: { description: "The deployment", schema: DeploymentView, example: DEPLOYMENT } },
    problems: ["action_not_allowed"],
    handle: async (ask) => {
      const present = await manifestOf(ask);
      const checked = checkManifest({ ...present, replicas: ask.body.replicas });
      if (!checked.ok) return refuseBody(checked.violations);
      const input = { manifest: checked.manifest, mutation: await ask.mutation(), dryRun: false, cause: "scale" };
      return applied(
        ask,
        unwrap(
          await call(
            () => remote(ask.env.NAMESPACE, present.namespace),
            (object) => object.apply({ ...input, holder: ask.params.id as string }),
          ),
        ),
      );
    },
  }),
  route({
    method: "GET",
    path: "/deployments/:id/health-checks",
    access: "deployments:read",
    group: "Deployments",
    summary: "Results of health checks",
    description:
      "The newest first. Kept are the results that said something new (another status, `healthy` reached or lost, the threshold reached once more): the last 50, for 7 days.",
    params,
    query: z.object({
      limit: limit(1000, 100),
      latest: flag.optional().describe("Only the newest of each check of each instance"),
    }),
    answers: { 200: { description: "The results", schema: z.array(HealthResultView) } },
    handle: async (ask) => {
      const { limit, latest } = ask.query;
      const { namespaces } = ask.principal;
      const rows = unwrap(
        await call(deploymentStub(ask), (deployment) => deployment.healthResults(namespaces, limit, latest === true)),
      );
      return jsonText(`[${rows.join(",")}]`);
    },
  }),
];

/** The manifest of the deployment that the path names, when the caller may see it. */
async function manifestOf(ask: Ask): Promise<Manifest> {
  const { namespaces } = ask.principal;
  return unwrap(await call(deploymentStub(ask), (deployment) => deployment.manifest(namespaces)));
}

function applied(
  ask: Ask,
  answer: { status: 200 | 201 | 202 | 204; body: string; revision: number; action: string },
): Response {
  const headers: Record<string, string> = { "lamplighter-action": answer.action };
  if (answer.status === 201) {
    const { id } = JSON.parse(answer.body) as DeploymentView;
    headers.location = `${ask.prefix}/deployments/${id}`;
  }
  return resource(answer, headers);
}
