import type { SourceFinding, SourceTable } from "../../contract/source-schema.ts";

/** What there is to know of tables before a build. */
export function findingsOf(tables: readonly SourceTable[]): SourceFinding[] {
  const findings: SourceFinding[] = [];
  for (const table of tables) {
    for (const { name, type, declared } of table.columns) {
      if (type !== null) continue;
      const message = `${table.name}.${name} is left out: there is no mapping for ${declared}`;
      findings.push({ severity: "warning", code: "unsupported_type", table: table.name, column: name, message });
    }
    const about = { severity: "warning", table: table.name, column: null } as const;
    if (table.primaryKey.length === 0)
      findings.push({
        ...about,
        code: "no_primary_key",
        message: `${table.name} has no primary key: its rows have no stable order`,
      });
    if (table.wholeTable !== null)
      findings.push({
        ...about,
        code: "whole_table_reload",
        message: `${table.name} is read again as a whole after changes: ${table.wholeTable}`,
      });
  }
  if (tables.length === 0)
    findings.push({
      severity: "error",
      code: "no_tables",
      table: null,
      column: null,
      message: "there are no tables that this user may see",
    });
  return findings;
}
