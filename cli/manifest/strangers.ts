import { checkManifest } from "../../contract/manifest-check.ts";
import type { Violation } from "../../contract/problem.ts";

type Fields = Record<string, unknown>;

/**
 * A manifest without the fields that nobody knows and that look like no other: Ring ignores those, so its files may hold them. One that looks
 * like a known field is a slip of the pen, and stays, to be refused.
 */
export function withoutStrangers(written: Fields, strict: boolean): { body: Fields; strangers: Violation[] } {
  const checked = strict ? null : checkManifest(written);
  if (checked === null || checked.ok) return { body: written, strangers: [] };
  const strangers = checked.violations.filter(
    ({ code, message }) => code === "unknown_field" && message === "unknown field",
  );
  const body = structuredClone(written);
  for (const { property_path } of strangers) drop(body, property_path);
  return { body, strangers };
}

/** Takes out what a path such as `health_checks[0].retries` leads to. A key may hold dots itself: the longest that fits is meant. */
function drop(at: unknown, path: string): void {
  if (typeof at !== "object" || at === null) return;
  const index = /^\[(\d+)\]\.?/.exec(path);
  if (index) {
    drop((at as unknown[])[Number(index[1])], path.slice(index[0].length));
    return;
  }
  if (path in at) {
    delete (at as Fields)[path];
    return;
  }
  const key = Object.keys(at)
    .filter((one) => path.startsWith(`${one}.`) || path.startsWith(`${one}[`))
    .sort((a, b) => b.length - a.length)[0];
  if (key !== undefined) drop((at as Fields)[key], path.slice(key.length).replace(/^\./, ""));
}
