import { accept, type Reply } from "../../contract/problem.ts";
import type { Sealed } from "../../contract/sealed.ts";
import type { SecretView } from "../../contract/secret.ts";
import { openText, sealingKeys, sealText } from "../sealing.ts";

export type Secret = { sealed: Sealed };

/** What is shown of a secret: not what it holds. */
export const secretView = (head: SecretView): SecretView => head;

/** A value as it is stored; refused while there is no key to seal it with. One that is the same as before stays sealed as it is. */
export async function sealSecretValue(
  env: Env,
  id: string,
  value: string,
  before: Secret | null = null,
): Promise<Reply<Secret>> {
  const keys = await sealingKeys(env);
  if (!keys.ok) return keys;
  const isSame = before !== null && (await openText(keys.value, before.sealed, secretLabel(id))) === value;
  return accept(isSame ? before : { sealed: await sealText(keys.value, value, secretLabel(id)) });
}

/** What a secret's value is sealed as. */
export const secretLabel = (id: string): string => `secret:${id}`;
