import { PROFILES } from "../../contract/database-profile.ts";
import { workloadId } from "../../contract/id.ts";
import type { Reply } from "../../contract/problem.ts";
import type { Answer } from "../../contract/request.ts";
import type { Workload, WorkloadSpec } from "../../contract/workload.ts";
import type { WriterTask } from "../../contract/writer-task.ts";
import { remote } from "../remote.ts";
import { candidates } from "../workload-host.ts";
import { ownerVerifier } from "./credential.ts";
import type { DatabaseEvent } from "./decide.ts";
import { readerOrder } from "./reader.ts";
import type { DatabaseRecord } from "./record.ts";
import { reservationOf } from "./reservation.ts";

/** What a letter needs of its object: the present state, and a way to tell what came of it. */
export type Sender = {
  env: Pick<Env, "INDEX" | "HOST">;
  sql: SqlStorage;
  load: () => DatabaseRecord | null;
  apply: (event: DatabaseEvent) => void;
};

/** Says the present truth about one subject. Throws when the other side could not be reached; it is then tried again. */
export async function deliver(key: string, sender: Sender): Promise<void> {
  const record = sender.load();
  if (!record) return;
  const [what, first = "", second = ""] = key.split(" ");
  switch (what) {
    case "place":
      return place(record, sender);
    case "offer":
      return offer(record, Number(first), sender);
    case "ask":
      return ask(record, Number(first), sender);
    case "withdraw":
      return withdraw(record, first, Number(second), sender);
    case "install":
      return install(record, sender);
    case "reader":
      return setReader(record, sender);
    case "close":
      return close(record, Number(first), Number(second), sender);
    case "discard":
      return discard(record, Number(first), sender);
  }
}

async function place(record: DatabaseRecord, { env, apply }: Sender): Promise<void> {
  apply({ type: "hosts", hosts: await candidates(env), labels: record.identity.placement });
}

async function offer(record: DatabaseRecord, term: number, { env, sql, apply }: Sender): Promise<void> {
  const { state } = record;
  if (state.status !== "booting" || state.step.name !== "offered" || state.term !== term) return;
  const { host_id } = state.step;
  const [answer] = await remote(env.HOST, host_id).assign([writerWorkload(sql, record, "write")]);
  const said = answer ?? { accepted: false as const, message: "gave no answer" };
  apply({ type: "answered", host_id, term, accepted: said.accepted, message: said.accepted ? "" : said.message });
}

/** Nothing was heard for long: what the host knows. */
async function ask(record: DatabaseRecord, term: number, { env, apply }: Sender): Promise<void> {
  const { state, identity } = record;
  if (state.status !== "booting" || state.step.name !== "starting" || state.term !== term) return;
  const { host_id } = state.step;
  const [observation] = await remote(env.HOST, host_id).recheck([workloadId(identity.id, 0)]);
  if (observation?.generation === term) apply({ type: "observed", host_id, term, observation });
}

async function withdraw(
  { identity, state }: DatabaseRecord,
  host_id: string,
  term: number,
  { env, apply }: Sender,
): Promise<void> {
  if (!state.leaving.some((one) => one.host_id === host_id && one.term === term)) return;
  const host = remote(env.HOST, host_id);
  const [answer] = await host.withdraw(identity.id, [{ id: workloadId(identity.id, 0), generation: term }]);
  // A removed host says so of everything, and may have been removed because it could not be reached.
  if (answer === "gone" && (await isRemoved(host)))
    return apply({ type: "evicted", host_id, term, why: "host_removed" });
  if (answer === "gone") return apply({ type: "left", host_id, term, lease_until: null });
  // From the withdrawal on it is not renewed, so whatever is left now is all that is left.
  apply({ type: "left", host_id, term, lease_until: Date.now() + (await host.writerLeaseLeft()) });
}

/** Gives the writer that runs the verifier of the newest password. */
async function install(record: DatabaseRecord, { env, sql, apply }: Sender): Promise<void> {
  const { state, identity } = record;
  const owner = ownerVerifier(sql);
  if (state.status !== "ready" || state.installed === owner.credential) return;
  const reply = await remote(env.HOST, state.host_id).ask({
    verb: "install_verifier",
    workload_id: workloadId(identity.id, 0),
    generation: state.term,
    ...owner,
  });
  if (!reply.ok) throw new Error(reply.refusal.detail);
  apply({ type: "installed", term: state.term, credential: owner.credential });
}

/** Gives the writer that runs the role of readers, or takes it away. */
async function setReader({ state, identity }: DatabaseRecord, { env, sql, apply }: Sender): Promise<void> {
  const reader = readerOrder(sql);
  const { term } = state;
  if (state.status !== "ready" || state.reader === (reader?.credential ?? null)) return;
  const workload_id = workloadId(identity.id, 0);
  const reply = await remote(env.HOST, state.host_id).ask({
    verb: "set_reader",
    workload_id,
    generation: term,
    reader,
  });
  if (!reply.ok) throw new Error(reply.refusal.detail);
  apply({ type: "reader_set", term, reader: reader?.credential ?? null });
}

/** Has its host stop it, unless somebody is there. One that cannot be asked has a writer that cannot be stopped either. */
async function close(
  { identity, state }: DatabaseRecord,
  term: number,
  since: number,
  { env, apply }: Sender,
): Promise<void> {
  if (state.status !== "ready" || state.term !== term || state.closing !== since) return;
  const id = workloadId(identity.id, 0);
  const reply = await remote(env.HOST, state.host_id).ask({ verb: "stop_unused", workload_id: id, generation: term });
  const clients = reply.ok ? (JSON.parse(reply.value) as { clients?: number }).clients : undefined;
  if (clients !== undefined) apply({ type: "closed", term, clients });
}

/** A host that cannot be asked is asked again when the deadline comes. */
async function discard(record: DatabaseRecord, term: number, { env, sql, apply }: Sender): Promise<void> {
  const { state } = record;
  if (state.status !== "deleting" || state.discarding?.term !== term) return;
  const { host_id } = state.discarding;
  const host = remote(env.HOST, host_id);
  await host.assign([writerWorkload(sql, record, "discard")]);
  if (await isRemoved(host)) apply({ type: "evicted", host_id, term, why: "host_removed" });
}

async function isRemoved(host: { read(): Promise<Reply<Answer>> }): Promise<boolean> {
  const known = await host.read();
  return !known.ok || (JSON.parse(known.value.body) as { status: string }).status === "removed";
}

/** The writer as its host is to run it; its generation is the term. */
export function writerWorkload(sql: SqlStorage, record: DatabaseRecord, purpose: WriterTask["purpose"]): Workload {
  const { identity, settings, keeping, state } = record;
  const { credential, verifier } = ownerVerifier(sql);
  const { cpu_millis, memory_bytes } = PROFILES[settings.profile];
  const reserved = reservationOf(settings.profile);
  const { restored_from } = identity;
  const takes = purpose === "write";
  const sealed = sql
    .exec<{ password: string | null }>("SELECT replication_password AS password FROM database")
    .one().password;
  const order: WriterTask = {
    purpose,
    database: identity.id,
    served_term: state.served_term,
    ...(state.accept_loss ? { accept_loss: true } : {}),
    profile: settings.profile,
    naming: { name: identity.name, owner: { role: identity.role, verifier } },
    credential,
    reader: readerOrder(sql),
    keepers: keeping?.keepers ?? [],
    quorum: keeping?.quorum ?? 0,
    ...(restored_from === null ? {} : { from: restored_from }),
  };
  const spec: WorkloadSpec = {
    runtime: "postgres",
    namespace: identity.namespace,
    name: identity.name,
    kind: takes ? "worker" : "job",
    ...NOTHING_ELSE,
    cpu_limit_millis: takes ? cpu_millis : null,
    memory_limit_bytes: takes ? memory_bytes : null,
    cpu_reserved_millis: takes ? reserved.cpu_millis : 0,
    memory_reserved_bytes: takes ? reserved.memory_bytes : 0,
    stop_timeout_ms: 20_000,
    writer: order,
    ...(sealed === null ? {} : { sealed: { replication_password: sealed } }),
  };
  return { id: workloadId(identity.id, 0), generation: state.term, owner: identity.id, want: "running", spec };
}

/** What only other runtimes use. */
const NOTHING_ELSE = {
  image: null,
  image_pull_policy: "IfNotPresent" as const,
  registry: null,
  command: [],
  working_dir: null,
  environment: {},
  labels: {},
  ports: [],
  mounts: [],
  user: { id: null, group: null, privileged: false },
  network: "bridge" as const,
};
