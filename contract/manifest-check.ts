import { z } from "zod";
import { asLeftOut } from "./left-out.ts";
import { MANIFEST_FIELDS, Manifest } from "./manifest.ts";
import { MANIFEST_RULES } from "./manifest-rules.ts";
import type { Violation } from "./problem.ts";
import { suggestion } from "./suggestion.ts";

/** Checks everything about a manifest. Answers it parsed, or every violation at once, each with its path and code. */
export function checkManifest(
  written: unknown,
): { ok: true; manifest: Manifest } | { ok: false; violations: Violation[] } {
  const body = asLeftOut(written);
  const parsed = Manifest.safeParse(body);
  const violations = parsed.success ? [] : shapeViolations(parsed.error, body);
  const manifest = parsed.success ? parsed.data : salvage(body);
  if (manifest) {
    const broken = new Set(violations.map((v) => v.property_path.split(/[.[]/)[0]));
    for (const { code, find } of MANIFEST_RULES) {
      for (const [property_path, message] of find(manifest)) {
        if (!broken.has(property_path.split(/[.[]/)[0])) violations.push({ property_path, message, code });
      }
    }
  }
  return violations.length === 0 && parsed.success ? { ok: true, manifest: parsed.data } : { ok: false, violations };
}

/** The manifest with each badly typed field at its default (or a harmless value), to find what else is wrong; null when it is no object. */
function salvage(body: unknown): Manifest | null {
  if (typeof body !== "object" || body === null || Array.isArray(body)) return null;
  const entries = Object.entries(MANIFEST_FIELDS).map(([field, schema]) => {
    const value = schema.safeParse((body as Record<string, unknown>)[field]);
    return [field, value.success ? value.data : schema.safeParse(undefined).data];
  });
  return { name: "", ...Object.fromEntries(entries) } as Manifest;
}

/** zod's issues as violations: types, missing fields, and unknown fields with the nearest known name. */
export function shapeViolations(error: z.ZodError, body: unknown, root: z.ZodType = Manifest): Violation[] {
  return error.issues.flatMap((issue): Violation[] => {
    const path = propertyPath(issue.path);
    if (issue.code === "unrecognized_keys") {
      const known = knownKeys(issue.path, root);
      return issue.keys.map((key) => ({
        property_path: propertyPath([...issue.path, key]),
        message: `unknown field${suggestion(key, known)}`,
        code: "unknown_field",
      }));
    }
    const missing = issue.code === "invalid_type" && valueAt(body, issue.path) === undefined;
    return [
      { property_path: path, message: missing ? "required" : issue.message, code: missing ? "required" : issue.code },
    ];
  });
}

export function propertyPath(path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (text, part) =>
      typeof part === "number" ? `${text}[${part}]` : text === "" ? String(part) : `${text}.${String(part)}`,
    "",
  );
}

function valueAt(body: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown> | null | undefined)?.[key], body);
}

/** The field names that the schema knows at a path; empty when the path leads into free-form data. */
function knownKeys(path: readonly PropertyKey[], root: z.ZodType): string[] {
  let schema: unknown = root;
  for (const part of path) schema = step(bare(schema), part);
  const last = bare(schema);
  return last instanceof z.ZodObject ? Object.keys(last.shape) : [];
}

function step(schema: unknown, part: PropertyKey): unknown {
  if (schema instanceof z.ZodArray) return schema.element;
  return schema instanceof z.ZodObject ? (schema.shape as Record<PropertyKey, unknown>)[part] : undefined;
}

function bare(schema: unknown): unknown {
  let inner = schema;
  for (;;) {
    if (inner instanceof z.ZodPipe) inner = inner.in;
    else if (
      inner instanceof z.ZodDefault ||
      inner instanceof z.ZodPrefault ||
      inner instanceof z.ZodOptional ||
      inner instanceof z.ZodNullable
    )
      inner = inner.unwrap();
    else return inner;
  }
}
