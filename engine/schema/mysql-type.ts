import type { ColumnType } from "../../contract/source-schema.ts";

export type MysqlColumn = {
  /** `int`, `varchar` … */
  data: string;
  /** `int(10) unsigned`, `enum('a','b')` … */
  declared: string;
  charset: string | null;
  precision: number | null;
  scale: number | null;
  /** MariaDB has JSON as text that a check holds to be JSON. */
  isJson: boolean;
};

/** Null: there is no mapping. */
export function mysqlType({ data, declared, charset, precision, scale, isJson }: MysqlColumn): ColumnType | null {
  const unsigned = declared.includes("unsigned");
  switch (data.toLowerCase()) {
    case "tinyint":
      return declared.startsWith("tinyint(1)") ? { kind: "boolean" } : { kind: "integer" };
    case "bit":
      return precision === 1 ? { kind: "boolean" } : { kind: "bigint" };
    case "smallint":
    case "mediumint":
    case "year":
      return { kind: "integer" };
    case "int":
      return unsigned ? { kind: "bigint" } : { kind: "integer" };
    case "bigint":
      return { kind: "bigint" };
    case "decimal":
      return { kind: "decimal", precision, scale };
    case "float":
      return { kind: "float", single: true };
    case "double":
      return { kind: "float", single: false };
    case "char":
    case "varchar":
    case "tinytext":
    case "text":
    case "mediumtext":
    case "longtext":
      if (isJson) return { kind: "json" };
      return charset === "binary" ? { kind: "bytes" } : { kind: "text" };
    case "uuid":
    case "inet4":
    case "inet6":
      return { kind: "text" };
    case "json":
      return { kind: "json" };
    case "enum":
      return { kind: "enum", values: quotedValues(declared) };
    case "set":
      return { kind: "set", values: quotedValues(declared) };
    case "binary":
    case "varbinary":
    case "tinyblob":
    case "blob":
    case "mediumblob":
    case "longblob":
      return { kind: "bytes" };
    case "date":
      return { kind: "date" };
    case "datetime":
      return { kind: "datetime", zoned: false };
    case "timestamp":
      return { kind: "datetime", zoned: true };
    case "time":
      return { kind: "time" };
    default:
      return null;
  }
}

/** `enum('a','it''s')` */
function quotedValues(declared: string): string[] {
  return [...declared.matchAll(/'((?:[^']|'')*)'/g)].map((match) => (match[1] ?? "").replaceAll("''", "'"));
}
