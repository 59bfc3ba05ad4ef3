import { ENGINE_PROGRAM } from "../../contract/engine-task.ts";
import { workloadId } from "../../contract/id.ts";
import type { Runner } from "../../contract/instance.ts";
import type { BuildQueueObject } from "../build-queue/object.ts";
import { tellNeed } from "../connection/source.ts";
import { remote } from "../remote.ts";
import { seal } from "../sealing.ts";
import { askAfter, lookForRoom, withdraw } from "../workload-host.ts";
import { workloadProof } from "../workload-proof.ts";
import { isKept } from "./build-history.ts";
import { BUILD_LINES, keepBuildLog, leavingBuilds } from "./build-log.ts";
import type { InstanceEvent } from "./decide.ts";
import { runnersOf } from "./draft.ts";
import { ENGINE_LINES, keepEngineLog, leavingEngines } from "./engine-log.ts";
import { readHostLog } from "./host-log.ts";
import type { InstanceRecord } from "./kept.ts";
import { engineKeys } from "./keys.ts";
import { buildInQueue } from "./letters.ts";
import { sayRoute, withdrawRoutes } from "./routing.ts";
import { sourceNeed } from "./source.ts";
import { keepStanding, standingOf } from "./standing.ts";
import { ordersOf, type Secrets, workloadOf } from "./workload.ts";

/** What a letter needs of its object: the present state, and a way to tell what came of it. */
export type Sender = {
  env: Env;
  sql: SqlStorage;
  load: () => InstanceRecord | null;
  apply: (event: InstanceEvent) => void;
  /** One change as one transaction, of what is kept beside the state. */
  change: <T>(work: (now: number) => T) => T;
};

/** Says the present truth about one subject. Throws when the other side could not be reached; it is then tried again. */
export async function deliver(key: string, sender: Sender): Promise<void> {
  const record = sender.load();
  if (!record) return;
  const [what, subject = ""] = key.split(" ");
  switch (what) {
    case "place":
      return place(record, sender);
    case "offer":
      return offer(record, sender);
    case "ask":
      return ask(record, sender);
    case "withdraw":
      return withdrawLeaving(record, sender);
    case "orders":
      // Which keys there are the route has too.
      await Promise.all([order(record, sender), sayRoute(record, sender)]);
      return;
    case "route":
      return sayRoute(record, sender);
    case "source":
      return tellNeed(
        record.identity.database_id,
        record.identity.id,
        sourceNeed(record.state, record.identity.name),
        sender.env,
      );
    case "queue":
      return queue(record, subject, sender);
  }
}

async function place(record: InstanceRecord, { env, load, apply }: Sender): Promise<void> {
  const placing = (present: InstanceRecord | null) =>
    present !== null && runnersOf(present.state).some(({ phase }) => phase === "placing");
  if (!placing(record)) return;
  await lookForRoom(
    env,
    record.identity.id,
    (hosts) => apply({ type: "hosts", hosts }),
    () => !placing(load()),
  );
}

type Offered = Extract<Runner, { phase: "offered" }>;

async function offer({ state, identity }: InstanceRecord, sender: Sender): Promise<void> {
  const offered = runnersOf(state).filter((runner): runner is Offered => runner.phase === "offered");
  for (const { slot, generation, host_id } of offered) {
    const secrets = await secretsOf(identity.connection_id, slot, generation, sender);
    if (typeof secrets === "string") {
      sender.apply({ type: "unresolved", message: secrets });
      continue;
    }
    // Meanwhile it may have been resized, withdrawn or placed elsewhere.
    const present = sender.load();
    const isSame =
      present && runnersOf(present.state).some((one) => one.generation === generation && one.phase === "offered");
    const workload = isSame ? workloadOf(present, { slot, generation }, secrets) : null;
    if (workload === null) continue;
    const [answer] = await remote(sender.env.HOST, host_id).assign([workload]);
    const said = answer ?? { accepted: false, message: "gave no answer" };
    sender.apply({ type: "answered", host_id, answers: [{ slot, generation, ...said }] });
  }
}

/** What the workload is given besides what the record says; a text is why it cannot be had now. */
async function secretsOf(
  connectionId: string,
  slot: number,
  generation: number,
  sender: Sender,
): Promise<Secrets | string> {
  const { env, sql } = sender;
  const { state, identity } = sender.load() ?? {};
  const need = state && identity ? sourceNeed(state, identity.name) : null;
  if (identity === undefined || need === null) return "nothing of it runs any more";
  const source = await remote(env.CONNECTION, connectionId).source(identity.id, need);
  if (!source.ok) return source.refusal.detail;
  if (source.value.standing !== null) keepStanding(sql, { ...source.value.standing });
  const record = sender.load();
  if (!record) return "it was deleted";
  const { id } = record.identity;
  const workload = workloadId(id, slot);
  const reportToken = await seal(env, await workloadProof(env, workload, generation), `report:${workload}`);
  if (!reportToken.ok) return reportToken.refusal.detail;
  const engine = [record.state.serving, record.state.candidate].find((one) => one?.runner.slot === slot);
  const hash = record.builds.find((build) => build.id === engine?.build_id)?.artifact?.hash;
  const artifact = hash === undefined ? null : { hash, kept: isKept(sql, hash) };
  const { sealed: keySecret } = sql.exec<{ sealed: string }>("SELECT sealed FROM key_secret").one();
  return { source: source.value, reportToken: reportToken.value, keySecret, keys: engineKeys(sql), artifact };
}

async function ask({ identity, state }: InstanceRecord, { env, apply }: Sender): Promise<void> {
  const starting = runnersOf(state).filter((runner) => runner.phase === "starting");
  await askAfter(env, identity.id, starting, (host_id, reports) => apply({ type: "observed", host_id, reports }));
}

async function withdrawLeaving(record: InstanceRecord, { env, sql, apply, change }: Sender): Promise<void> {
  const { identity, state } = record;
  for (const build of leavingBuilds(sql, record)) {
    const lines = await readHostLog(identity.id, build, BUILD_LINES, env);
    if (lines !== null) change(() => keepBuildLog(sql, build.id, lines));
  }
  for (const engine of leavingEngines(sql, record)) {
    const lines = await readHostLog(identity.id, engine, ENGINE_LINES, env);
    if (lines !== null) change(() => keepEngineLog(sql, engine, lines));
  }
  await withdraw(env, identity.id, state.leaving, (host_id, reports) => apply({ type: "observed", host_id, reports }));
}

/** Tells hosts of what is still to go of a deleted instance: they see to it, whether anybody asks again or not. */
export async function withdrawAll(record: InstanceRecord, { env, sql }: Pick<Sender, "env" | "sql">): Promise<void> {
  const { identity, state } = record;
  await withdrawRoutes(record, { env, sql });
  await withdraw(env, identity.id, state.leaving, () => {});
}

/** How long an engine is waited for that is told its orders, ms: what is said to it meanwhile waits. */
const TELLING_MS = 3_000;

/** Tells the engine that serves what it should be. One that cannot be told hears it as the answer to its next report. */
async function order({ identity, state }: InstanceRecord, { env, sql }: Sender): Promise<void> {
  const runner = state.serving?.runner;
  if (runner?.phase !== "running") return;
  const { slot, generation, host_id } = runner;
  const asked = remote(env.HOST, host_id).ask({
    verb: "exec",
    workload_id: workloadId(identity.id, slot),
    generation,
    command: [ENGINE_PROGRAM, "tell", JSON.stringify(ordersOf(state, engineKeys(sql), standingOf(sql)))],
    timeout_ms: TELLING_MS,
  });
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, TELLING_MS);
  });
  await Promise.race([asked.then(() => undefined), late]).finally(() => clearTimeout(timer));
}

/** A build waits for its turn, has it, or does not need it any more. */
async function queue({ identity, state }: InstanceRecord, buildId: string, { env }: Sender): Promise<void> {
  const builds = remote<BuildQueueObject>(env.BUILD_QUEUE, identity.region);
  if (buildInQueue(state) !== buildId) return builds.release(buildId);
  await builds.enqueue({ build_id: buildId, instance_id: identity.id, namespace: identity.namespace });
}
