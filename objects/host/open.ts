import type { ControlBody } from "../../contract/frame.ts";
import type { Sealed } from "../../contract/sealed.ts";
import type { Workload, WorkloadSpec } from "../../contract/workload.ts";
import type { WriterTask } from "../../contract/writer-task.ts";
import { keepersOf } from "../database/keepers.ts";
import { registryLabel } from "../namespace/registry-password.ts";
import { keyIdOf, openText, type SealingKeys, sealedAs, sealingKeys } from "../sealing.ts";

/**
 * What is about to be sent to the agent, with the sealed parts of its workloads opened: the only place where they are. One that cannot be opened goes
 * out all the same, saying so: a set that left it out would have the agent stop what runs.
 */
export async function opened(body: ControlBody, env: Env): Promise<ControlBody> {
  if (body.kind !== "apply" && body.kind !== "desired") return body;
  if (body.workloads.every(({ spec }) => spec.sealed === undefined)) return body;
  const keys = await sealingKeys(env);
  const workloads = await Promise.all(
    body.workloads.map(async (workload): Promise<Workload> => {
      // What is to go needs no secrets to go.
      if (workload.want === "gone" || workload.spec.sealed === undefined) return withoutSealed(workload);
      const spec = keys.ok ? await openSpec(workload.spec, keys.value, env) : keys.refusal.detail;
      return typeof spec === "string"
        ? { ...withoutSealed(workload), spec: { ...withoutSealed(workload).spec, unreadable: spec } }
        : { ...workload, spec };
    }),
  );
  return { ...body, workloads };
}

const withoutSealed = (workload: Workload): Workload => {
  const { sealed: _, ...spec } = workload.spec;
  return { ...workload, spec };
};

class Unreadable extends Error {}

/** The spec in clear; a text is why it cannot be opened. */
async function openSpec(
  { sealed = {}, ...spec }: WorkloadSpec,
  keys: SealingKeys,
  env: Env,
): Promise<WorkloadSpec | string> {
  const read = async (text: Sealed, of = sealedAs(text)): Promise<string> => {
    const clear = await openText(keys, text, of);
    if (clear === null)
      throw new Unreadable(
        keys.keys.has(keyIdOf(text))
          ? "a secret does not open: it was sealed as something else"
          : `a secret is sealed with the key ${keyIdOf(text)}, which is not among SECRET_KEYS`,
      );
    return clear;
  };
  try {
    const environment = { ...spec.environment };
    for (const [variable, text] of Object.entries(sealed.environment ?? {})) environment[variable] = await read(text);
    const files = [...(spec.files ?? [])];
    for (const { destination, content } of sealed.files ?? [])
      files.push({ destination, content: await read(content) });
    const password = sealed.registry_password;
    const registry =
      spec.registry && password !== undefined
        ? { ...spec.registry, password: await read(password, registryLabel(spec.namespace)) }
        : spec.registry;
    const config = sealed.registry_config;
    const { replication_password } = sealed;
    const writer =
      spec.writer && replication_password !== undefined
        ? { ...spec.writer, ...addressesOf(spec.writer, env), replication_password: await read(replication_password) }
        : spec.writer;
    return {
      ...spec,
      environment,
      registry,
      ...(writer === undefined ? {} : { writer }),
      ...(files.length > 0 ? { files } : {}),
      ...(config === undefined ? {} : { registry_config: await read(config) }),
    };
  } catch (error) {
    if (error instanceof Unreadable) return error.message;
    throw error;
  }
}

/** Where the keepers of a database are is the operator's to say, and stored with none of them. */
function addressesOf({ keepers }: WriterTask, env: Env): Pick<WriterTask, "keeper_addresses"> {
  const known = knownKeepers(env as { KEEPERS?: string });
  return {
    keeper_addresses: keepers.map((name) => {
      const address = known.find((one) => one.name === name);
      if (address === undefined) throw new Unreadable(`its keeper ${name} is not among KEEPERS`);
      return address;
    }),
  };
}

function knownKeepers(env: { KEEPERS?: string }): ReturnType<typeof keepersOf> {
  try {
    return keepersOf(env);
  } catch (error) {
    throw new Unreadable((error as Error).message);
  }
}
