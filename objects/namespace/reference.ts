import { configEntry } from "../../contract/config.ts";
import type { Manifest } from "../../contract/manifest.ts";
import { type Reference, type Resolved, referenceKey, referencesOf, volumesOf } from "../../contract/reference.ts";
import { isName, VOLUME_NAME } from "../../contract/resource-name.ts";
import { namespacedId } from "../namespaced-id.ts";
import { byName, type Head, insert, isThere } from "./resource.ts";
import type { Volume } from "./volume.ts";

/** What deployments name in their manifests, and what they were given for it. Call all but `changedReferences` inside `commit`. */

/** Either a value for each reference, or what is missing and how to make it. */
export type Resolution = { values: Record<string, Resolved> } | { missing: string };

/** A deployment was decided on: what it names is known from now on, and its named volumes get their entries. */
export function remember(sql: SqlStorage, { id, manifest }: { id: string; manifest: Manifest }, head: Head): void {
  const named = [
    ...referencesOf(manifest).map(({ kind, name }) => ({ kind: kind as string, name })),
    ...volumesOf(manifest).map((name) => ({ kind: "volume", name })),
  ];
  for (const { kind, name } of named)
    sql.exec("INSERT OR IGNORE INTO reference VALUES (?, ?, ?, ?)", id, kind, name, manifest.name);
  registerVolumes(sql, volumesOf(manifest), head);
}

/** Volumes that a manifest names get an entry. What could not be the name of one, a runtime may still take. */
function registerVolumes(sql: SqlStorage, names: readonly string[], head: Head): void {
  for (const name of names) {
    if (!isName(name, VOLUME_NAME) || isThere(sql, "volume", name)) continue;
    const content: Volume = { size: null, backend_type: "local", labels: {}, registered_by: "deployment" };
    insert(sql, { id: namespacedId("volume", head.namespace, head.now), kind: "volume", name, content }, head);
  }
}

/** The deployment is deleted: it refers to nothing any more, and waits for nothing. */
export function forgetReferences(sql: SqlStorage, deploymentId: string): void {
  for (const table of ["reference", "awaited", "resolved"])
    sql.exec(`DELETE FROM ${table} WHERE deployment_id = ?`, deploymentId);
}

/** What the references come to now, for instances that are given it. */
export function resolve(
  sql: SqlStorage,
  deploymentId: string,
  references: readonly Reference[],
  namespace: string,
): Resolution {
  const { values, versions, faults } = lookAll(sql, deploymentId, references, namespace);
  if (faults.length > 0) return { missing: faults.join("; ") };
  if (references.length > 0) keepVersions(sql, deploymentId, versions);
  return { values };
}

/** What of them is missing, or null. */
export function missing(
  sql: SqlStorage,
  deploymentId: string,
  references: readonly Reference[],
  namespace: string,
): string | null {
  const { faults } = lookAll(sql, deploymentId, references, namespace);
  return faults.length > 0 ? faults.join("; ") : null;
}

/** A host stores a workload as one row, and an agent gets it in one frame: as JSON, its configs and secrets may have so many bytes. */
const LARGEST_VALUES = 1_500_000;

/** Looks at all of them. What is not as it is needed is remembered, so that the deployment is told when it is made or changed. */
function lookAll(sql: SqlStorage, deploymentId: string, references: readonly Reference[], namespace: string) {
  sql.exec("DELETE FROM awaited WHERE deployment_id = ?", deploymentId);
  const awaitOne = ({ kind, name }: Reference) =>
    sql.exec("INSERT OR IGNORE INTO awaited VALUES (?, ?, ?)", kind, name, deploymentId);
  const values: Record<string, Resolved> = {};
  const versions: Record<string, string> = {};
  const faults: string[] = [];
  let size = 0;
  for (const reference of references) {
    const found = look(sql, reference, namespace);
    if ("missing" in found) {
      faults.push(found.missing);
      awaitOne(reference);
      continue;
    }
    values[referenceKey(reference)] = found.value;
    versions[referenceKey(reference)] = found.version;
    size += sizeOf("text" in found.value ? found.value.text : found.value.sealed);
  }
  if (size > LARGEST_VALUES) {
    faults.push(`its configs and secrets have ${size} bytes in all, and may have ${LARGEST_VALUES}`);
    for (const reference of references) awaitOne(reference);
  }
  return { values, versions, faults };
}

const encoder = new TextEncoder();
const sizeOf = (text: string): number => encoder.encode(JSON.stringify(text)).length;

/** The references that now have another version than the one that the deployment's instances were given, for a person. One that is missing does not count. */
export function changedReferences(
  sql: SqlStorage,
  deploymentId: string,
  manifest: Manifest,
  namespace: string,
): string[] {
  const given = versionsOf(sql, deploymentId);
  const changed = referencesOf(manifest).filter((reference) => {
    const version = given[referenceKey(reference)];
    const found = look(sql, reference, namespace);
    return version !== undefined && "version" in found && found.version !== version;
  });
  return [...new Set(changed.map(({ kind, name }) => `${kind} '${name}'`))];
}

/** Some instances have an older version, some a newer one. */
const MIXED = "mixed";

function keepVersions(sql: SqlStorage, deploymentId: string, versions: Record<string, string>): void {
  const before = versionsOf(sql, deploymentId);
  const kept = Object.fromEntries(
    Object.entries(versions).map(([key, version]) => [key, (before[key] ?? version) === version ? version : MIXED]),
  );
  if (JSON.stringify(kept) === JSON.stringify(before)) return;
  sql.exec("INSERT OR REPLACE INTO resolved VALUES (?, ?)", deploymentId, JSON.stringify(kept));
}

function versionsOf(sql: SqlStorage, deploymentId: string): Record<string, string> {
  const row = sql
    .exec<{ versions: string }>("SELECT versions FROM resolved WHERE deployment_id = ?", deploymentId)
    .toArray()[0];
  return row ? (JSON.parse(row.versions) as Record<string, string>) : {};
}

type Found = { value: Resolved; version: string } | { missing: string };

function look(sql: SqlStorage, reference: Reference, namespace: string): Found {
  const { kind, name } = reference;
  if (reference.kind === "secret") {
    const row = byName(sql, "secret", name);
    return row
      ? { value: { sealed: row.content.sealed }, version: `${row.id}@${row.revision}` }
      : { missing: `${kind} '${name}' is missing: make it with \`lamplighter secret create ${name} -n ${namespace}\`` };
  }
  const row = byName(sql, "config", name);
  if (row === null)
    return {
      missing: `${kind} '${name}' is missing: make it with \`lamplighter config create ${name} -n ${namespace}\``,
    };
  const entry = configEntry(row.content.data, reference.key);
  if ("fault" in entry)
    return {
      missing: `${kind} '${name}' cannot be used: ${entry.fault}; change it with \`lamplighter config update ${name} -n ${namespace}\``,
    };
  return { value: entry, version: `${row.id}@${row.revision}` };
}
