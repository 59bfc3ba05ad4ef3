import { accept, type Reply } from "../contract/problem.ts";
import { SEALED_PREFIX, type Sealed } from "../contract/sealed.ts";
import { commit } from "./alarm.ts";
import { keyIdOf, openText, type SealingKeys, sealedAs, sealedIn, sealingKeys, sealText } from "./sealing.ts";

/** How many texts were sealed anew, and how many are left under each older key: those whose key is gone, or that changed meanwhile. */
export type Resealed = { resealed: number; left: Record<string, number> };

/**
 * Seals everything that an object holds anew with the newest key, whichever table it is in: a sealed text tells by itself which key opens it
 * and what it is of. Sealing is asynchronous, so each text is only replaced if it is still there; what changed meanwhile is looked at again.
 */
export async function reseal(storage: DurableObjectStorage, keys: SealingKeys): Promise<Resealed> {
  const result: Resealed = { resealed: 0, left: {} };
  for (const { table, column } of textColumns(storage.sql)) {
    for (let round = 0; round < 3; round++) {
      const texts = holding(storage.sql, table, column);
      const stale = texts.filter((text) => sealedIn(text).some((sealed) => keyIdOf(sealed) !== keys.newest));
      if (stale.length === 0) break;
      let changed = 0;
      for (const text of stale) {
        const { fresh, count } = await renewed(text, keys);
        if (count === 0) continue;
        const written = commit(
          storage,
          () =>
            storage.sql.exec(`UPDATE "${table}" SET "${column}" = ? WHERE "${column}" = ?`, fresh, text).rowsWritten,
        );
        if (written > 0) {
          result.resealed += count;
          changed++;
        }
      }
      if (changed === 0) break;
    }
    for (const text of holding(storage.sql, table, column)) {
      for (const sealed of sealedIn(text)) {
        const id = keyIdOf(sealed);
        if (id !== keys.newest) result.left[id] = (result.left[id] ?? 0) + 1;
      }
    }
  }
  return result;
}

/** The same for the object's own method: refused without a key. */
export async function resealed(storage: DurableObjectStorage, env: Env): Promise<Reply<Resealed>> {
  const keys = await sealingKeys(env);
  return keys.ok ? accept(await reseal(storage, keys.value)) : keys;
}

async function renewed(text: string, keys: SealingKeys): Promise<{ fresh: string; count: number }> {
  const replacements = new Map<Sealed, Sealed>();
  for (const sealed of sealedIn(text)) {
    if (keyIdOf(sealed) === keys.newest) continue;
    const of = sealedAs(sealed);
    const clear = await openText(keys, sealed, of);
    if (clear !== null) replacements.set(sealed, await sealText(keys, clear, of));
  }
  let fresh = text;
  for (const [old, sealed] of replacements) fresh = fresh.replaceAll(old, sealed);
  return { fresh, count: replacements.size };
}

function textColumns(sql: SqlStorage): { table: string; column: string }[] {
  return sql
    .exec<{ table: string; column: string }>(
      `SELECT m.name AS "table", c.name AS "column" FROM sqlite_master AS m, pragma_table_info(m.name) AS c
       WHERE m.type = 'table' AND c.type = 'TEXT' AND m.name NOT LIKE '\\_cf\\_%' ESCAPE '\\' AND m.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'`,
    )
    .toArray();
}

const holding = (sql: SqlStorage, table: string, column: string): string[] =>
  sql
    .exec<{ text: string }>(
      `SELECT DISTINCT "${column}" AS text FROM "${table}" WHERE instr("${column}", ?) > 0`,
      SEALED_PREFIX,
    )
    .toArray()
    .map(({ text }) => text);
