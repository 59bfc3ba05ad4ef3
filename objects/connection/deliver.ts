import type { Source } from "../../contract/connection.ts";
import type { SourceNeed } from "../../contract/database-reader.ts";
import { workloadId } from "../../contract/id.ts";
import type { Workload } from "../../contract/workload.ts";
import { programSpec } from "../instance/program.ts";
import { remote } from "../remote.ts";
import { seal } from "../sealing.ts";
import { candidates, withdraw } from "../workload-host.ts";
import { workloadProof } from "../workload-proof.ts";
import { type ConnectionEvent, TEST_DEADLINE_MS } from "./decide.ts";
import type { ConnectionRecord } from "./record.ts";
import { managedBy, sourceFor, tellNeed } from "./source.ts";

export type Sender = { env: Env; load: () => ConnectionRecord | null; apply: (event: ConnectionEvent) => void };

const SLOT = 0;
const TEST_MEMORY = 128 * 1024 ** 2;

/** For as long as the test lasts. */
export const TEST_NEED: SourceNeed = { follows: false, reason: "connection test" };

/** Says the present truth about one subject. Throws when the other side could not be reached; it is then tried again. */
export async function deliver(key: string, sender: Sender): Promise<void> {
  if (key === "withdraw") return withdrawFormer(sender);
  if (key === "test") return startTest(sender);
  if (key === "rest") return rest(sender);
}

/** A managed database may sleep again. */
async function rest({ env, load }: Sender): Promise<void> {
  const record = load();
  if (record !== null && record.state.test === null) await tellNeed(managedBy(record), record.identity.id, null, env);
}

async function startTest({ env, load, apply }: Sender): Promise<void> {
  if (load()?.state.test?.host_id === null) {
    apply({ type: "hosts", hosts: await candidates(env) });
  }
  const record = load();
  const host_id = record?.state.test?.taken === false ? record.state.test.host_id : null;
  if (!record || host_id === null) return;
  const { generation } = record.state;
  const id = workloadId(record.identity.id, SLOT);
  const token = await seal(env, await workloadProof(env, id, generation), `report:${id}`);
  if (!token.ok) return apply({ type: "unresolved", code: "secret_unreadable", message: token.refusal.detail });
  const source = await sourceFor(record, record.identity.id, TEST_NEED, env);
  if (!source.ok) return apply({ type: "unresolved", code: "connect_timeout", message: source.refusal.detail });
  const workload = workloadOf(record, { id, generation }, token.value, source.value);
  const [answer] = await remote(env.HOST, host_id).assign([workload]);
  const accepted = answer?.accepted ?? false;
  apply({ type: "answered", generation, host_id, accepted, message: answer?.accepted === false ? answer.message : "" });
}

function workloadOf(
  record: ConnectionRecord,
  workload: { id: string; generation: number },
  reportToken: string,
  { address, password }: Source,
): Workload {
  const { identity, spec } = record;
  const operation = { id: "test", revision: workload.generation };
  return {
    ...workload,
    owner: identity.id,
    want: "running",
    spec: programSpec({
      task: { do: "test", operation, source: address, schemas: spec.schemas, config: null },
      workload,
      namespace: identity.namespace,
      name: identity.name,
      labels: { "lamplighter.connection": identity.id },
      reports: `/connections/${identity.id}/reports`,
      reportToken,
      password,
      keySecret: null,
      memory_bytes: TEST_MEMORY,
      cpu_millis: 0,
      run_timeout_ms: TEST_DEADLINE_MS,
    }),
  };
}

async function withdrawFormer({ env, load, apply }: Sender): Promise<void> {
  const record = load();
  if (record === null) return;
  const leaving = record.state.leaving.map((one) => ({ ...one, slot: SLOT }));
  await withdraw(env, record.identity.id, leaving, (host_id, reports) => {
    for (const { generation } of reports) apply({ type: "gone", generation, host_id });
  });
}
