import type { WorkloadSpec } from "../contract/workload.ts";

/** Short values would blank out ordinary words, and protect nothing. */
const SHORTEST = 4;
const LONGEST_TEXT = 2000;

/** The text without the values of the environment, the files and the registry's password, for messages that leave the host. */
export function withoutSecrets(text: string, spec: WorkloadSpec): string {
  const files = (spec.files ?? []).map(({ content }) => content.trim());
  const secrets = [...Object.values(spec.environment), ...files, ...(spec.registry ? [spec.registry.password] : [])];
  let clean = text.slice(0, LONGEST_TEXT);
  for (const secret of secrets.sort((a, b) => b.length - a.length)) {
    if (secret.length >= SHORTEST) clean = clean.replaceAll(secret, "[hidden]");
  }
  return clean;
}
