import type { ColumnType } from "../../contract/source-schema.ts";

export type PostgresColumn = {
  /** Of the type, or of the type that a domain is of. */
  type: string;
  /** pg_type.typtype: b base, e enum, c composite, d domain, r range … */
  typtype: string;
  /** atttypmod; -1: none. */
  modifier: number;
  values: string[];
};

/** Null: there is no mapping. */
export function postgresType({ type, typtype, modifier, values }: PostgresColumn): ColumnType | null {
  if (typtype === "e") return { kind: "enum", values };
  if (typtype !== "b") return null;
  switch (type) {
    case "int2":
    case "int4":
      return { kind: "integer" };
    case "int8":
    case "oid":
      return { kind: "bigint" };
    case "numeric": {
      if (modifier < 4) return { kind: "decimal", precision: null, scale: null };
      const precision = ((modifier - 4) >> 16) & 0xffff;
      const scale = (((modifier - 4) & 0x7ff) ^ 1024) - 1024;
      return scale < 0 ? { kind: "decimal", precision: null, scale: null } : { kind: "decimal", precision, scale };
    }
    case "float4":
      return { kind: "float", single: true };
    case "float8":
      return { kind: "float", single: false };
    case "bool":
      return { kind: "boolean" };
    case "text":
    case "varchar":
    case "bpchar":
    case "name":
    case "char":
    case "uuid":
    case "citext":
    case "inet":
    case "cidr":
    case "macaddr":
    case "macaddr8":
    case "xml":
    case "money":
    case "interval":
    case "timetz":
    case "bit":
    case "varbit":
      return { kind: "text" };
    case "json":
    case "jsonb":
      return { kind: "json" };
    case "bytea":
      return { kind: "bytes" };
    case "timestamp":
      return { kind: "datetime", zoned: false };
    case "timestamptz":
      return { kind: "datetime", zoned: true };
    case "date":
      return { kind: "date" };
    case "time":
      return { kind: "time" };
    default:
      return null;
  }
}
