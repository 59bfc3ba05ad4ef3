import { z } from "zod";
import { propertyPath } from "../contract/manifest-check.ts";
import type { Violation } from "../contract/problem.ts";
import { suggestion } from "../contract/suggestion.ts";
import { fail } from "./problem.ts";

/** Leaves with every violation of a body at once. */
export function refuseBody(violations: Violation[]): never {
  return fail(
    "validation_failed",
    violations
      .map(({ property_path, message }) => (property_path ? `${property_path}: ${message}` : message))
      .join("\n"),
    {
      violations,
    },
  );
}

/** The body by its schema, or every violation: wrong types, missing fields, and unknown fields with the nearest known name. */
export function checkBody<T>(
  schema: z.ZodType<T>,
  body: unknown,
): { ok: true; value: T } | { ok: false; violations: Violation[] } {
  const parsed = schema.safeParse(body);
  if (parsed.success) return { ok: true, value: parsed.data };
  const known = schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
  const violations = parsed.error.issues.flatMap((issue): Violation[] => {
    if (issue.code === "unrecognized_keys") {
      return issue.keys.map((key) => ({
        property_path: propertyPath([...issue.path, key]),
        message: `unknown field${issue.path.length === 0 ? suggestion(key, known) : ""}`,
        code: "unknown_field",
      }));
    }
    const given = issue.path.reduce<unknown>(
      (value, key) => (value as Record<PropertyKey, unknown> | null | undefined)?.[key],
      body,
    );
    const missing = issue.path.length > 0 && issue.code !== "custom" && given === undefined;
    return [
      {
        property_path: propertyPath(issue.path),
        message: missing ? "required" : issue.message,
        code: missing ? "required" : issue.code,
      },
    ];
  });
  return { ok: false, violations };
}
