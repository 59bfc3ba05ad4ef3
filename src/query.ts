import { z } from "zod";
import type { Violation } from "../contract/problem.ts";
import { parseDuration } from "../contract/quantity.ts";
import { fail } from "./problem.ts";

/** A filter that may be given several times, as `x=a&x=b` or `x[]=a&x[]=b`. */
export const several = <T extends z.ZodType>(item: T) => z.array(item).max(100).default([]);

export const limit = (most: number, usual: number) => z.coerce.number().int().min(1).max(most).default(usual);

export const flag = z.enum(["true", "false", "1", "0", ""]).transform((text) => text !== "false" && text !== "0");

/** A duration such as `30s`, in milliseconds. */
export const duration = (mostMs: number) =>
  z.string().transform((text, context) => {
    const ms = parseDuration(text);
    if (ms !== null && ms <= mostMs) return ms;
    context.addIssue({ code: "custom", message: `expected a duration up to ${mostMs / 1000}s such as "30s"` });
    return z.NEVER;
  });

/** A time, or how long ago it was; ms since 1970. */
export const since = z.string().transform((text, context) => {
  const ago = /^\d+[smhd]$/.test(text) ? parseDuration(text) : null;
  const at = ago === null ? Date.parse(text) : Date.now() - ago;
  if (ago !== null || (/^\d{4}-\d\d-\d\dT/.test(text) && !Number.isNaN(at))) return at;
  context.addIssue({
    code: "custom",
    message: 'expected how long ago, such as "10m", or a time such as "2026-11-21T09:30:00Z"',
  });
  return z.NEVER;
});

/** Reads a query string by its schema. Unknown parameters are ignored; of a parameter that is not a list the last one counts. */
export function readQuery<Q extends z.ZodObject>(schema: Q, url: string): z.output<Q> {
  const start = url.indexOf("?");
  if (start < 0) return usual(schema);
  const given = new URLSearchParams(url.slice(start).split("#")[0]);
  const raw: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(schema.shape)) {
    const values = [...given.getAll(name), ...given.getAll(`${name}[]`)];
    if (values.length > 0) raw[name] = isList(field as z.ZodType) ? values : values.at(-1);
  }
  const parsed = schema.safeParse(raw);
  if (parsed.success) return parsed.data;
  const violations = parsed.error.issues.map(
    (issue): Violation => ({
      property_path: String(issue.path[0] ?? ""),
      message: issue.message,
      code: issue.code,
    }),
  );
  return fail("malformed_query", violations.map((v) => `${v.property_path}: ${v.message}`).join("\n"), { violations });
}

const usuals = new WeakMap<z.ZodObject, unknown>();

/** What a request without a query asks for: worked out once, since most requests have none. */
function usual<Q extends z.ZodObject>(schema: Q): z.output<Q> {
  if (!usuals.has(schema)) usuals.set(schema, Object.freeze(schema.parse({})));
  return usuals.get(schema) as z.output<Q>;
}

const isList = (field: z.ZodType): boolean =>
  (field instanceof z.ZodDefault ? field.unwrap() : field) instanceof z.ZodArray;
