import { z } from "zod";
import { DEPLOYMENT_STATUSES, DeploymentStatus, DeploymentView, TERMINAL } from "../../contract/deployment.ts";
import { Explanation } from "../../contract/explanation.ts";
import { DeploymentId } from "../../contract/id.ts";
import { Manifest } from "../../contract/manifest.ts";
import { checkManifest } from "../../contract/manifest-check.ts";
import { ManifestView } from "../../contract/manifest-view.ts";
import type { Answer } from "../../contract/request.ts";
import { ManifestChange } from "../../contract/rollout.ts";
import { remote } from "../../objects/remote.ts";
import { conditional, jsonText, resource } from "../answer.ts";
import { DEPLOYMENT, EXPLANATION, MANIFEST } from "../example.ts";
import { resourcesPage } from "../listing.ts";
import { preferredWait } from "../mutation.ts";
import { mayCreateNamespace, permitNamespace } from "../namespaced.ts";
import { unwrap } from "../problem.ts";
import { duration, flag, limit, several } from "../query.ts";
import { type Ask, route } from "../route.ts";
import { call } from "../stub.ts";

/** What applying can come to. */
const APPLY_ACTIONS = ["create", "unchanged", "amend", "roll", "replace"] as const;

const params = { id: DeploymentId };
const LONGEST_WAIT_MS = 300_000;
/** Where a deployment rests: what `Prefer: wait` waits for. */
const RESTING = ["running", ...TERMINAL];

const Statuses = z
  .string()
  .transform((text) => text.split(",").filter((word) => word !== ""))
  .pipe(z.array(DeploymentStatus).min(1));

const Rehearsal = z.object({
  dry_run: z.literal(true),
  action: z.enum(APPLY_ACTIONS).describe("What applying it would do"),
  deployment_id: z.string().optional(),
  why: z.string().optional().describe("With `replace`: why it could not be done step by step"),
  changes: z.array(ManifestChange).describe("Against the manifest that holds the name now"),
  renewed: z.array(z.string()).describe("Configs and secrets that have changed since what runs was given them"),
  manifest: ManifestView,
});

export const deploymentStub = (ask: Ask) => () => remote(ask.env.DEPLOYMENT, ask.params.id as string);

export const DEPLOYMENTS = [
  route({
    method: "POST",
    path: "/deployments",
    access: "deployments:write",
    group: "Deployments",
    summary: "Apply a manifest",
    description:
      "Makes the manifest true under its name. A name that is free gets a new deployment. A name that is held is taken over by a new one: step by step (`roll`) when the new manifest has a health check and the old version serves, else at once (`replace`), with an event that says why. A change of replicas, autoscaling or rollout settings alone changes the deployment in place (`amend`). Applying what is there already changes nothing (`unchanged`) but the restart count, which starts over. The header `Lamplighter-Action` says which it was.",
    query: z.object({
      dry_run: flag.optional().describe("Check everything and say what would happen, without doing it"),
      force: flag.optional().describe("Replace what is there at once, whatever it is"),
    }),
    body: {
      schema: Manifest,
      permit: permitNamespace,
      check: (value) => {
        const checked = checkManifest(value);
        return checked.ok ? { ok: true, value: checked.manifest } : checked;
      },
      example: MANIFEST,
    },
    mutation: ["idempotency", "if-match", "wait"],
    answers: {
      201: {
        description: "A new deployment",
        schema: DeploymentView,
        example: DEPLOYMENT,
        headers: { Location: "Address of the new deployment", "Lamplighter-Action": APPLY_ACTIONS.join(", ") },
      },
      200: {
        description:
          "The deployment that was there already: `unchanged`, or changed in place (`amend`); or, with `dry_run`, what would happen",
        schema: z.union([DeploymentView, Rehearsal]),
      },
    },
    problems: ["namespace_not_permitted", "name_taken", "secret_key_missing"],
    handle: async (ask) => {
      const { principal, body } = ask;
      const input = {
        manifest: body,
        mutation: await ask.mutation(),
        dryRun: ask.query.dry_run === true,
        force: ask.query.force === true,
        mayCreateNamespace: mayCreateNamespace(principal, body.namespace),
      };
      const applied = unwrap(
        await call(
          () => remote(ask.env.NAMESPACE, ask.body.namespace),
          (namespace) => namespace.apply(input),
        ),
      );
      if (input.dryRun) return jsonText(applied.body);
      const { id } = JSON.parse(applied.body) as DeploymentView;
      const headers: Record<string, string> = { "lamplighter-action": applied.action };
      if (applied.status === 201) headers.location = `${ask.prefix}/deployments/${id}`;
      const present = await waited(ask, id, RESTING, headers);
      return resource(present ? { ...present, status: applied.status } : applied, headers);
    },
  }),
  route({
    method: "GET",
    path: "/deployments",
    access: "deployments:read",
    group: "Deployments",
    summary: "List deployments",
    description:
      "Newest first. Filters of one kind are alternatives, several labels must all be there. Those that are deleted are listed until their last instance is gone. The list may be some milliseconds behind a single deployment's own answer.",
    query: z.object({
      namespace: several(z.string()),
      name: several(z.string()),
      status: several(DeploymentStatus),
      kind: several(z.enum(["worker", "job"])),
      label: several(z.string()).describe("`key` or `key=value`"),
      limit: limit(1000, 1000),
      cursor: DeploymentId.optional().describe("From the `Link` header of the page before"),
    }),
    answers: {
      200: {
        description: "One page",
        schema: z.array(DeploymentView),
        example: [DEPLOYMENT],
        headers: { Link: '`<…>; rel="next"` when there are more' },
      },
    },
    handle: async (ask) => {
      const { query } = ask;
      return resourcesPage(ask, "deployment", {
        names: query.name,
        statuses: query.status,
        types: query.kind,
        labels: query.label.map(labelFilter),
      });
    },
  }),
  route({
    method: "GET",
    path: "/deployments/:id",
    access: "deployments:read",
    group: "Deployments",
    summary: "Read a deployment",
    description:
      "With `wait`, answers when it is in one of those statuses or in one that it will not leave, and at the latest after `timeout`; then look at `status`.",
    params,
    query: z.object({
      wait: Statuses.optional().describe(`One or several of ${DEPLOYMENT_STATUSES.join(", ")}, separated by commas`),
      timeout: duration(LONGEST_WAIT_MS).optional().describe("How long to wait; 30s when left out, 5m at most"),
    }),
    answers: {
      200: { description: "The deployment", schema: DeploymentView, example: DEPLOYMENT },
      304: { description: "`If-None-Match` names its revision" },
    },
    handle: async (ask) => {
      const { wait, timeout } = ask.query;
      const reply = await call(deploymentStub(ask), (deployment) =>
        wait
          ? deployment.waitFor(ask.principal.namespaces, wait, timeout ?? 30_000)
          : deployment.read(ask.principal.namespaces),
      );
      return conditional(ask.request, unwrap(reply));
    },
  }),
  route({
    method: "DELETE",
    path: "/deployments/:id",
    access: "deployments:write",
    group: "Deployments",
    summary: "Delete a deployment",
    description:
      "Removes every instance, then the deployment itself; until then it is listed as `deleted`. `Prefer: wait` waits for the end of it.",
    params,
    mutation: ["idempotency", "if-match", "wait"],
    answers: { 204: { description: "It is being deleted, or was already" } },
    handle: async (ask) => {
      const mutation = await ask.mutation();
      const answer = unwrap(
        await call(deploymentStub(ask), (deployment) => deployment.delete(mutation, ask.principal.namespaces)),
      );
      const headers: Record<string, string> = {};
      await waited(ask, ask.params.id as string, [], headers);
      return resource(answer, headers);
    },
  }),
  route({
    method: "GET",
    path: "/deployments/:id/explain",
    access: "deployments:read",
    group: "Deployments",
    summary: "Why it is as it is",
    description: "What is waited for, which deadline comes next, and what could not be delivered yet.",
    params,
    answers: {
      200: {
        description: "The explanation",
        schema: Explanation,
        example: EXPLANATION,
      },
    },
    handle: async (ask) =>
      jsonText(unwrap(await call(deploymentStub(ask), (deployment) => deployment.explain(ask.principal.namespaces)))),
  }),
];

/** The deployment after the wait that `Prefer` asks for; null without one, or when it is gone by then. */
async function waited(
  ask: Ask,
  id: string,
  statuses: string[],
  headers: Record<string, string>,
): Promise<Answer | null> {
  const seconds = preferredWait(ask.request);
  if (seconds === null) return null;
  headers["preference-applied"] = `wait=${seconds}`;
  const reply = await call(
    () => remote(ask.env.DEPLOYMENT, id),
    (deployment) => deployment.waitFor(ask.principal.namespaces, statuses, seconds * 1000),
  );
  return reply.ok ? reply.value : null;
}

export function labelFilter(text: string): [key: string, value: string | null] {
  const at = text.indexOf("=");
  return at < 0 ? [text, null] : [text.slice(0, at), text.slice(at + 1)];
}
