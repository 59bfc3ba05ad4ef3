// An engine of one table in this process.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ColumnType } from "../../contract/source-schema.ts";
import { buildEngine } from "../../engine/build/bundle.ts";
import { composeShape } from "../../engine/config/compose.ts";
import type { Engine } from "../../engine/run.ts";
import type { Store } from "../../engine/store/table.ts";

export type Note = { id: number; owner: number; text: string };

const column = (name: string, kind: "integer" | "text") => ({
  ...{ name, declared: kind, nullable: false },
  type: { kind } as ColumnType,
});

export async function notesEngine(): Promise<{ engine: Engine; storeOf: (notes: Note[]) => Store }> {
  const folder = mkdtempSync(join(tmpdir(), "lamplighter-notes-"));
  try {
    const columns = [column("id", "integer"), column("owner", "integer"), column("text", "text")];
    const table = { name: "notes", columns, primaryKey: ["id"], foreignKeys: [], indexes: [], wholeTable: null };
    const schema = { kind: "mysql" as const, version: "test", name: "notes", findings: [], tables: [table] };
    const composed = composeShape(schema, null);
    if ("problems" in composed) throw new Error(JSON.stringify(composed.problems));
    const engine = (await import((await buildEngine(composed.shape, folder)).path)) as Engine;
    const storeOf = (notes: Note[]): Store => {
      const store = engine.createStore();
      for (const { id, owner, text } of notes) store.tables[0]?.append([id, owner, text]);
      store.tables[0]?.finish();
      return store;
    };
    return { engine, storeOf };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
