import type { Manifest } from "../../contract/manifest.ts";
import { accept, type Reply } from "../../contract/problem.ts";
import { isSealed } from "../../contract/sealed.ts";
import { openText, sealingKeys, sealText } from "../sealing.ts";

type WithPassword = Pick<Manifest, "namespace" | "config">;

/**
 * The manifest with its registry's password sealed: so it is stored and handed on, and only opened when an agent is told. A password that is
 * the same as the one before stays sealed as it is, so that the same manifest is the same. One that is sealed already is left alone.
 * Without a key such a manifest is refused: a password is not kept in clear.
 */
export async function sealRegistryPassword<M extends WithPassword>(
  env: Env,
  manifest: M,
  before: WithPassword | null = null,
): Promise<Reply<M>> {
  const password = manifest.config?.password;
  if (manifest.config == null || password == null || isSealed(password)) return accept(manifest);
  const keys = await sealingKeys(env);
  if (!keys.ok) return keys;
  const of = registryLabel(manifest.namespace);
  const known = before?.config?.password;
  const isSame = known != null && isSealed(known) && (await openText(keys.value, known, of)) === password;
  const sealed = isSame ? known : await sealText(keys.value, password, of);
  return accept({ ...manifest, config: { ...manifest.config, password: sealed } });
}

/** What a registry's password is sealed as: one of this namespace. (Not of a name: the runs of a schedule have names of their own.) */
export const registryLabel = (namespace: string): string => `registry:${namespace}`;
