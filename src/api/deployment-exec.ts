import { z } from "zod";
import type { DeploymentView } from "../../contract/deployment.ts";
import type { AuditEntry } from "../../contract/event.ts";
import { DeploymentId } from "../../contract/id.ts";
import { parseDuration } from "../../contract/quantity.ts";
import { actorOf } from "../../contract/scope.ts";
import { ExecResult } from "../../contract/workload.ts";
import { shardOf } from "../../objects/projection.ts";
import { remote } from "../../objects/remote.ts";
import { jsonText } from "../answer.ts";
import { fail, unwrap } from "../problem.ts";
import { type Ask, route } from "../route.ts";
import { call } from "../stub.ts";
import { refuseBody } from "../violations.ts";
import { deploymentStub } from "./deployments.ts";

const LONGEST_MS = 300_000;

const Timeout = z.string().refine((text) => {
  const ms = parseDuration(text);
  return ms !== null && ms > 0 && ms <= LONGEST_MS;
}, 'expected a duration up to 5m such as "30s"');

const Exec = z.strictObject({
  command: z
    .array(z.string())
    .min(1, "expected a program")
    .describe("The program and its arguments; no shell is put around it"),
  instance: z
    .string()
    .min(1)
    .optional()
    .describe("The id of an instance, or its beginning; the first running one when left out"),
  timeout: Timeout.default("30s").describe("After this it is killed"),
});
type Exec = z.infer<typeof Exec>;

export const DEPLOYMENT_EXEC = [
  route({
    method: "POST",
    path: "/deployments/:id/exec",
    access: "deployments:write",
    group: "Deployments",
    summary: "Run a command in an instance",
    description:
      "Runs it beside the instance's program and answers what it wrote. It is never repeated by the control plane, so it takes no Idempotency-Key.",
    params: { id: DeploymentId },
    body: { schema: Exec, example: { command: ["cat", "/etc/hostname"] } },
    answers: {
      200: {
        description: "It ended",
        schema: ExecResult,
        example: { exit_code: 0, stdout: "web-0\n", stderr: "", truncated: false },
      },
    },
    problems: ["action_not_allowed", "host_unavailable"],
    handle: async (ask) => {
      const { command, timeout } = ask.body;
      const { host_id, workload_id, generation } = await instanceOf(ask);
      const question = {
        verb: "exec" as const,
        workload_id,
        generation,
        command,
        timeout_ms: parseDuration(timeout) as number,
      };
      // Once only: nobody knows what a command does when it is run twice.
      const answer = await call(
        () => remote(ask.env.HOST, host_id),
        (host) => host.ask(question),
        1,
      );
      return jsonText(unwrap(answer));
    },
  }),
];

/** The running instance that is meant. That somebody ran something there is kept before it is run. */
async function instanceOf(
  ask: Ask<unknown, Exec>,
): Promise<{ host_id: string; workload_id: string; generation: number }> {
  const { namespaces } = ask.principal;
  const [read, where] = await Promise.all([
    call(deploymentStub(ask), (deployment) => deployment.read(namespaces)),
    call(deploymentStub(ask), (deployment) => deployment.running(namespaces)),
  ]);
  const view = JSON.parse(unwrap(read).body) as DeploymentView;
  const up = new Set(view.instances.filter(({ phase }) => phase === "running").map(({ id }) => id));
  const running = unwrap(where).filter(({ instance_id }) => up.has(instance_id));
  if (running.length === 0) {
    fail("action_not_allowed", "No instance is running.", {
      more: { resource_status: view.status, allowedActions: view.allowedActions },
    });
  }
  const { instance } = ask.body;
  const meant =
    instance === undefined ? running[0] : running.find(({ instance_id }) => instance_id.startsWith(instance));
  if (meant === undefined) {
    return refuseBody([
      {
        property_path: "instance",
        message: `expected one of ${running.map(({ instance_id }) => instance_id).join(", ")}`,
        code: "exec.instance.unknown",
      },
    ]);
  }
  await keep(ask, view, meant.instance_id);
  return meant;
}

/** The command's arguments may hold secrets: they are not kept. */
async function keep(ask: Ask<unknown, Exec>, view: DeploymentView, instance: string): Promise<void> {
  const entry: AuditEntry = {
    id: `${instance}:exec:${crypto.randomUUID()}`,
    timestamp: new Date().toISOString(),
    actor: actorOf(ask.principal),
    action: "exec",
    resource_kind: "deployment",
    resource_id: view.id,
    resource_name: view.name,
    namespace: view.namespace,
    before_revision: view.revision,
    after_revision: view.revision,
    request_id: ask.requestId,
  };
  await call(
    () => remote(ask.env.INDEX, shardOf(view.namespace)),
    (index) => index.record(entry),
  );
}
