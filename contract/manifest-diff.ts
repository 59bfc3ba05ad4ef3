import type { Manifest } from "./manifest.ts";
import type { ManifestChange } from "./rollout.ts";

/**
 * What differs between two manifests, by dotted path; null and missing are the same. Lists are compared by index. A password is told to differ, and
 * never shown.
 */
export function diffManifests(from: Manifest, to: Manifest): ManifestChange[] {
  const changes: ManifestChange[] = [];
  compare("", from, to, changes);
  return changes.map((change) =>
    change.path === "config.password" ? { ...change, from: mask(change.from), to: mask(change.to) } : change,
  );
}

/** Whether anything differs. */
export const sameManifest = (a: Manifest, b: Manifest): boolean => diffManifests(a, b).length === 0;

const mask = (value: unknown): string | null => (value == null ? null : "(not shown)");

function compare(path: string, from: unknown, to: unknown, changes: ManifestChange[]): void {
  const a = from ?? null;
  const b = to ?? null;
  if (isMap(a) && isMap(b)) {
    for (const key of new Set([...Object.keys(a), ...Object.keys(b)]))
      compare(path === "" ? key : `${path}.${key}`, a[key], b[key], changes);
  } else if (Array.isArray(a) && Array.isArray(b)) {
    for (let i = 0; i < Math.max(a.length, b.length); i++) compare(`${path}[${i}]`, a[i], b[i], changes);
  } else if (a !== b) changes.push({ path, from: a, to: b });
}

const isMap = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
