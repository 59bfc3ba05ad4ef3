import { madeAt } from "../../contract/id.ts";
import type { Mutation } from "../../contract/request.ts";
import { type Run, runName, SCHEDULE_LABEL } from "../../contract/schedule.ts";
import { remote } from "../remote.ts";
import type { ScheduleEvent } from "./decide.ts";
import { runKey } from "./letters.ts";
import type { ScheduleRecord } from "./record.ts";

/** What a letter needs of its object: the present state, and a way to tell what came of it. */
export type Sender = {
  env: Pick<Env, "NAMESPACE" | "DEPLOYMENT">;
  load: () => ScheduleRecord | null;
  apply: (event: ScheduleEvent) => void;
};

/** How long a deployment that its own object does not know may still be on its way there, ms. */
const ON_ITS_WAY_MS = 300_000;

/** Asks for the deployment of a run that is due. Asked twice, it is the same deployment: the key of the request is the run. */
export async function start(key: string, { env, load, apply }: Sender): Promise<void> {
  const find = () =>
    load()?.state.runs.find((run): run is Extract<Run, { phase: "due" }> => run.phase === "due" && runKey(run) === key);
  const run = find();
  const record = load();
  if (!run || !record) return;
  const { identity, spec } = record;
  const { at, manual } = run;
  if (!run.attempted) apply({ type: "attempted", at, manual });
  const reply = await remote(env.NAMESPACE, identity.namespace).apply({
    manifest: {
      ...spec.job,
      name: runName(identity.name, run),
      labels: { ...spec.job.labels, [SCHEDULE_LABEL]: identity.name },
    },
    mutation: {
      ...by(identity.id, `${identity.id}:${key}`),
      idempotency: { key: `${identity.id}:${key}`, fingerprint: "run" },
    },
    dryRun: false,
    owner_schedule: identity.id,
  });
  if (reply.ok) {
    const { id } = JSON.parse(reply.value.body) as { id: string };
    apply({ type: "started", at, manual, deployment_id: id });
  } else apply({ type: "refused", at, manual, message: reply.refusal.detail });
}

/** Deletes the deployment of a run. One that is not known yet may still come: then it is tried again. */
export async function discard(id: string, { env, load, apply }: Sender): Promise<void> {
  const record = load();
  if (!record) return;
  const deployment = remote(env.DEPLOYMENT, id);
  const reply = await deployment.delete(by(record.identity.id, `${record.identity.id}:delete`), [], {
    level: "info",
    component: "scheduler",
    reason: "schedule_discarded",
    message: `deleted by its schedule ${record.identity.name}`,
  });
  if (!reply.ok) {
    const { status, message } = await deployment.standing();
    if (status === "unknown" && Date.now() - madeAt(id) < ON_ITS_WAY_MS) throw new Error(`${id} is not known yet`);
    apply({ type: "told", deployment_id: id, standing: { status: "gone", message } });
  }
  apply({ type: "discarded", deployment_id: id });
}

/** Asks after every run that is under way. */
export async function check({ env, load, apply }: Sender): Promise<void> {
  for (const run of load()?.state.runs ?? []) {
    if (run.phase !== "active" && run.phase !== "stopping") continue;
    const standing = await remote(env.DEPLOYMENT, run.deployment_id).standing();
    apply({ type: "told", deployment_id: run.deployment_id, standing });
  }
  apply({ type: "checked" });
}

const by = (actor: string, request_id: string): Mutation => ({ actor, request_id, if_match: null, idempotency: null });
