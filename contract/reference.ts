import type { Manifest } from "./manifest.ts";
import type { Sealed } from "./sealed.ts";
import type { WorkloadSpec } from "./workload.ts";

/** What a manifest names and does not hold. `key`: the config's entry. */
export type Reference = { kind: "secret"; name: string } | { kind: "config"; name: string; key: string };

/** A reference's value: a config's entry as it is, a secret's as it is kept. */
export type Resolved = { text: string } | { sealed: Sealed };

/** Where in a workload a reference's value goes. */
type Use = { reference: Reference; to: { variable: string } | { file: string } | "registry" };

function uses(manifest: Manifest): Use[] {
  const variables = Object.entries(manifest.environment).flatMap(([variable, value]): Use[] => {
    if (typeof value === "string") return [];
    const reference: Reference =
      "secretRef" in value
        ? { kind: "secret", name: value.secretRef }
        : { kind: "config", name: value.configRef, key: value.key };
    return [{ reference, to: { variable } }];
  });
  const files = manifest.volumes.flatMap(({ type, source, key, destination }): Use[] => {
    const to = { file: destination };
    if (type === "secret") return [{ reference: { kind: "secret", name: source ?? "" }, to }];
    return type === "config" ? [{ reference: { kind: "config", name: source ?? "", key: key ?? "" }, to }] : [];
  });
  const pullSecret = manifest.config?.image_pull_secret;
  return [
    ...variables,
    ...files,
    ...(pullSecret == null ? [] : [{ reference: { kind: "secret", name: pullSecret }, to: "registry" } satisfies Use]),
  ];
}

/** All that a manifest refers to, each once. */
export function referencesOf(manifest: Manifest): Reference[] {
  return [...new Map(uses(manifest).map(({ reference }) => [referenceKey(reference), reference])).values()];
}

export const referenceKey = (reference: Reference): string =>
  reference.kind === "secret" ? `secret/${reference.name}` : `config/${reference.name}/${reference.key}`;

/** The named volumes that a manifest mounts. */
export const volumesOf = (manifest: Manifest): string[] => [
  ...new Set(
    manifest.volumes.flatMap(({ type, driver, source }) =>
      type === "volume" && driver === "local" && source != null ? [source] : [],
    ),
  ),
];

/** The spec with what its manifest refers to put in: configs in clear, secrets in the sealed part. */
export function filled(
  spec: WorkloadSpec,
  manifest: Manifest,
  values: Readonly<Record<string, Resolved>>,
): WorkloadSpec {
  const all = uses(manifest);
  if (all.length === 0) return spec;
  const environment = { ...spec.environment };
  const files = [...(spec.files ?? [])];
  const sealed = { environment: {} as Record<string, Sealed>, files: [] as { destination: string; content: Sealed }[] };
  let registry_config: Sealed | undefined;
  for (const { reference, to } of all) {
    const value = values[referenceKey(reference)];
    if (value === undefined) throw new Error(`${referenceKey(reference)} was not resolved`);
    if (to === "registry") registry_config = "sealed" in value ? value.sealed : undefined;
    else if ("variable" in to) {
      if ("sealed" in value) sealed.environment[to.variable] = value.sealed;
      else environment[to.variable] = value.text;
    } else if ("sealed" in value) sealed.files.push({ destination: to.file, content: value.sealed });
    else files.push({ destination: to.file, content: value.text });
  }
  return {
    ...spec,
    environment,
    ...(files.length > 0 ? { files } : {}),
    sealed: { ...spec.sealed, ...sealed, ...(registry_config === undefined ? {} : { registry_config }) },
  };
}
