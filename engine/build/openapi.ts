import { FRESHNESS_HEADERS, QUERY_PROBLEMS } from "../../contract/engine-query.ts";
import type { ColumnType } from "../../contract/source-schema.ts";
import { type Shape, type ShapeTable, tableAt } from "../shape/shape.ts";

/** The engine's own API. What `reflexdb.yaml` hides is not in it. */
export function openApiOf(shape: Shape): Record<string, unknown> {
  const problem = { content: { "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } } } };
  const statuses = [...new Set(Object.values(QUERY_PROBLEMS))].sort();
  const errors = Object.fromEntries(
    statuses.map((status) => {
      const codes = Object.entries(QUERY_PROBLEMS).filter(([, each]) => each === status);
      return [String(status), { description: codes.map(([code]) => code).join(", "), ...problem }];
    }),
  );
  const text = { type: "string" };
  const header = (name: string, description: string) => ({ name, in: "header", description, schema: text });
  return {
    openapi: "3.1.0",
    info: { title: shape.schema, version: "1", description: "A read-only copy in memory, kept fresh from its source." },
    security: [{ key: [] }],
    paths: {
      "/query": {
        post: {
          operationId: "query",
          summary: "Rows, with what they are related to",
          parameters: [
            header(FRESHNESS_HEADERS.maxStaleness, "Milliseconds before the request: what is older is an error"),
            header(FRESHNESS_HEADERS.minPosition, "A position of the source: an answer from before it is an error"),
          ],
          requestBody: {
            required: true,
            content: { "text/plain": { schema: text, example: example(shape) } },
          },
          responses: {
            200: {
              description: "An array of rows; for several tables in { … }, an object of arrays",
              headers: Object.fromEntries(
                Object.entries(FRESHNESS_HEADERS)
                  .filter(([name]) => !name.startsWith("m") || name === "more")
                  .map(([, name]) => [name, { schema: text }]),
              ),
              content: {
                "application/json": {
                  schema: { anyOf: shape.tables.map(({ name }) => ({ type: "array", items: ref(name) })) },
                },
              },
            },
            ...errors,
          },
        },
      },
      "/health": {
        get: {
          operationId: "health",
          security: [],
          responses: { 200: { description: "Serving" }, 503: { description: "Loading or paused" } },
        },
      },
      "/schema": {
        get: { operationId: "schema", responses: { 200: { description: "Tables, fields and relations" } } },
      },
      "/metrics": {
        get: { operationId: "metrics", responses: { 200: { description: "Prometheus' text" } } },
      },
    },
    components: {
      securitySchemes: { key: { type: "http", scheme: "bearer", description: "rxk_<id>.<hmac>" } },
      schemas: {
        ...Object.fromEntries(shape.tables.map((table) => [schemaName(table.name), tableSchema(shape, table)])),
        Problem: {
          type: "object",
          required: ["code", "status", "detail"],
          properties: {
            code: { type: "string", enum: Object.keys(QUERY_PROBLEMS) },
            status: { type: "integer" },
            detail: text,
            line: { type: "integer" },
            column: { type: "integer" },
            nearest: { type: "array", items: text },
          },
        },
      },
    },
  };
}

const schemaName = (table: string): string =>
  table === "Problem" ? "Problem_" : table.replace(/[^A-Za-z0-9._-]/g, "_");
const ref = (table: string) => ({ $ref: `#/components/schemas/${schemaName(table)}` });

function tableSchema(shape: Shape, table: ShapeTable): Record<string, unknown> {
  const properties: Record<string, unknown> = {};
  for (const { name, type, nullable, note, declared } of table.columns) {
    if (name === null) continue;
    const schema = jsonSchema(type);
    const description = note ?? declared;
    properties[name] = nullable ? { anyOf: [schema, { type: "null" }], description } : { ...schema, description };
  }
  for (const { name, kind, table: place } of table.relations) {
    const row = ref(tableAt(shape, place).name);
    properties[name] = kind === "many" ? { type: "array", items: row } : { anyOf: [row, { type: "null" }] };
  }
  return { type: "object", description: `Rows of ${table.source}. Only what a query names is answered.`, properties };
}

function jsonSchema(type: ColumnType): Record<string, unknown> {
  switch (type.kind) {
    case "integer":
      return { type: "integer" };
    case "bigint":
      return { type: ["integer", "string"], description: "A string beyond 2^53" };
    case "float":
      return { type: "number" };
    case "decimal":
      return { type: "string", pattern: "^-?\\d+(\\.\\d+)?$" };
    case "boolean":
      return { type: "boolean" };
    case "text":
      return { type: "string" };
    case "enum":
      return { type: "string", enum: type.values };
    case "set":
      return { type: "array", items: { type: "string", enum: type.values } };
    case "json":
      return {};
    case "bytes":
      return { type: "string", contentEncoding: "base64" };
    case "datetime":
      return type.zoned ? { type: "string", format: "date-time" } : { type: "string" };
    case "date":
      return { type: "string", format: "date" };
    case "time":
      return { type: "string" };
  }
}

function example(shape: Shape): string {
  const [table] = shape.tables;
  const [column] = table?.columns.filter(({ name }) => name !== null) ?? [];
  return table === undefined || column === undefined ? "" : `${table.name}(limit: 10) { ${column.name} }`;
}
