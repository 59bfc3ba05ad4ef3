import { madeAt } from "../../contract/id.ts";
import { remote } from "../remote.ts";

/** Which object of a kind holds a name, for kinds that are made once and never replaced under it. Call what writes inside `commit`. */
export type NamedKind = "schedule" | "database" | "instance" | "connection";

/** An object whose name was claimed is made within this time of its id, ms, or never. */
const MADE_WITHIN_MS = 60_000;

export const nameHolder = (sql: SqlStorage, kind: NamedKind, name: string): string | null =>
  sql.exec<{ id: string }>("SELECT id FROM name_claim WHERE kind = ? AND name = ?", kind, name).toArray()[0]?.id ??
  null;

export function takeName(sql: SqlStorage, kind: NamedKind, name: string, id: string): void {
  sql.exec("INSERT OR REPLACE INTO name_claim VALUES (?, ?, ?)", kind, name, id);
}

export function dropName(sql: SqlStorage, kind: NamedKind, name: string, id: string): void {
  sql.exec("DELETE FROM name_claim WHERE kind = ? AND name = ? AND id = ?", kind, name, id);
}

/** Whether another may have the name that an object holds: it is deleted, or its making was cut short. */
export async function hasLeft(env: Env, kind: Exclude<NamedKind, "schedule">, id: string): Promise<boolean> {
  const holder = {
    database: () => remote(env.DATABASE, id).isDeleted(),
    instance: () => remote(env.INSTANCE, id).isDeleted(),
    connection: () => remote(env.CONNECTION, id).isDeleted(),
  };
  return (await holder[kind]()) ?? Date.now() - madeAt(id) > MADE_WITHIN_MS;
}
