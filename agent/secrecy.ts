import type { WorkloadSpec } from "../contract/workload.ts";

/** Short values would blank out ordinary words, and protect nothing. */
const SHORTEST = 4;
const LONGEST_TEXT = 2000;

/** Every quoted text of a Docker config.json, and what `auth` ones come to. */
const textsIn = (config: string): string[] =>
  [...config.matchAll(/"((?:[^"\\]|\\.)*)"/g)].flatMap(([, text = ""]) => [
    text,
    ...Buffer.from(text, "base64").toString("utf8").split(":").slice(1),
  ]);

/** The text without the values of the environment, files and registry credentials, for messages that leave the host. */
export function withoutSecrets(text: string, spec: WorkloadSpec): string {
  const secrets = [
    ...Object.values(spec.environment),
    ...(spec.files ?? []).map(({ content }) => content.trim()),
    ...(spec.registry ? [spec.registry.password] : []),
    ...(spec.writer?.keeper_addresses ?? []).map(({ token }) => token),
    ...(spec.writer?.replication_password === undefined ? [] : [spec.writer.replication_password]),
    ...(spec.writer === undefined ? [] : [spec.writer.naming.owner.verifier]),
    ...(spec.registry_config === undefined ? [] : textsIn(spec.registry_config)),
  ];
  let clean = text.slice(0, LONGEST_TEXT);
  for (const secret of secrets.sort((a, b) => b.length - a.length)) {
    if (secret.length >= SHORTEST) clean = clean.replaceAll(secret, "[hidden]");
  }
  return clean;
}
