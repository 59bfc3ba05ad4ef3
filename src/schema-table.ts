import { text } from "./html.ts";

type Json = Record<string, unknown>;
export type SchemaRow = { name: string; required: boolean; type: string; description: string };

const refName = (schema: Json): string | undefined =>
  typeof schema.$ref === "string" ? schema.$ref.split("/").at(-1) : undefined;
const list = (value: unknown): Json[] => (Array.isArray(value) ? (value as Json[]) : []);

/** A schema's type in a few words, as HTML; named schemas are links. */
export function typeOf(schema: Json): string {
  const ref = refName(schema);
  if (ref !== undefined) return `<a href="#schema-${text(ref)}">${text(ref)}</a>`;
  const either = [...list(schema.anyOf), ...list(schema.oneOf)];
  if (either.length > 0) {
    const nullable = either.some(({ type }) => type === "null");
    const types = [...new Set(either.filter(({ type }) => type !== "null").map(typeOf))].join(" or ");
    return `${types}${nullable ? " or null" : ""}`;
  }
  if (schema.const !== undefined) return `<code>${text(JSON.stringify(schema.const))}</code>`;
  if (Array.isArray(schema.enum))
    return (schema.enum as unknown[]).map((word) => `<code>${text(String(word))}</code>`).join(" ");
  if (schema.type === "array") return `list of ${schema.items ? typeOf(schema.items as Json) : "anything"}`;
  if (schema.type === "object" && typeof schema.additionalProperties === "object" && !schema.properties) {
    return `map of ${typeOf(schema.additionalProperties as Json)}`;
  }
  const range = [
    schema.minimum === undefined ? "" : `from ${schema.minimum}`,
    schema.maximum === undefined ? "" : `to ${schema.maximum}`,
    schema.exclusiveMinimum === undefined ? "" : `above ${schema.exclusiveMinimum}`,
  ].filter((part) => part !== "");
  const format = schema.format === "date-time" ? "time" : typeof schema.format === "string" ? schema.format : undefined;
  const types = Array.isArray(schema.type) ? schema.type.join(" or ") : schema.type;
  const base = format ?? (typeof types === "string" ? types : "anything");
  const usual =
    schema.default === undefined || typeof schema.default === "object"
      ? ""
      : `, default <code>${text(JSON.stringify(schema.default))}</code>`;
  return `${text([base, ...range].join(" "))}${usual}`;
}

/** The fields of a schema; those of objects inside it follow with dotted names. Named schemas are not opened: they have their own table. */
export function schemaRows(schema: Json, named: Record<string, Json>, prefix = ""): SchemaRow[] {
  const properties = schema.properties as Record<string, Json> | undefined;
  if (!properties) {
    const inner = [
      ...list(schema.anyOf),
      ...list(schema.oneOf),
      ...(schema.type === "array" && schema.items ? [schema.items as Json] : []),
    ];
    return inner.flatMap((one) => (refName(one) === undefined ? schemaRows(one, named, prefix) : []));
  }
  const required = new Set(Array.isArray(schema.required) ? (schema.required as string[]) : []);
  return Object.entries(properties).flatMap(([name, field]) => {
    const path = prefix + name;
    const row = {
      name: path,
      required: required.has(name),
      type: typeOf(field),
      description: String(field.description ?? ""),
    };
    const repeated = field.type === "array" ? "[]." : ".";
    return [row, ...(refName(field) === undefined ? schemaRows(field, named, path + repeated) : [])];
  });
}
