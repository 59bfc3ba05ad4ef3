import type { IndexRow } from "../projection.ts";

/** Which rows, newest first. Empty lists mean all; labels must all be there; `before` is the key that the page starts after. */
export type ListQuery = {
  kind: IndexRow["kind"];
  namespaces: string[];
  names: string[];
  statuses: string[];
  types: string[];
  labels: [key: string, value: string | null][];
  before: string | null;
  limit: number;
};

/** Of what was done: by whom, to what. `cluster`: with what belongs to no namespace. */
export type TrailQuery = {
  namespaces: string[];
  resource_id: string | null;
  actor: string | null;
  before: string | null;
  limit: number;
};

/** One object's part of a page. The bodies are JSON texts that nobody parses; the keys sort, and `more` says that rows follow. */
export type Slice = { keys: string[]; bodies: string[]; more: boolean };

type Keyed = { key: string; body: string };

const ANY_OF = "IN (SELECT value FROM json_each(?))";

export function listRows(sql: SqlStorage, query: ListQuery): Slice {
  const where = ["kind = ?", "gone_at IS NULL"];
  const values: (string | number)[] = [query.kind];
  const anyOf = (column: string, words: string[]) => {
    if (words.length === 0) return;
    where.push(`${column} ${ANY_OF}`);
    values.push(JSON.stringify(words));
  };
  if (query.before !== null) {
    where.push("id < ?");
    values.push(query.before);
  }
  anyOf("namespace", query.namespaces);
  anyOf("name", query.names);
  anyOf("status", query.statuses);
  anyOf("type", query.types);
  if (query.labels.length > 0) {
    // As many pairs of the wanted ones as there are must be among the row's.
    where.push(
      "NOT EXISTS (SELECT 1 FROM json_each(?) AS wanted WHERE NOT EXISTS (SELECT 1 FROM json_each(entry.labels) AS label" +
        " WHERE label.key = wanted.value ->> 0 AND (wanted.value ->> 1 IS NULL OR label.value = wanted.value ->> 1)))",
    );
    values.push(JSON.stringify(query.labels));
  }
  return slice(
    sql,
    `SELECT id AS key, body FROM entry WHERE ${where.join(" AND ")} ORDER BY id DESC LIMIT ?`,
    values,
    query.limit,
  );
}

export function listTrail(sql: SqlStorage, query: TrailQuery): Slice {
  const where = ["1"];
  const values: (string | number)[] = [];
  const is = (condition: string, value: string | null) => {
    if (value === null) return;
    where.push(condition);
    values.push(value);
  };
  is("key < ?", query.before);
  is("resource_id = ?", query.resource_id);
  is("actor = ?", query.actor);
  is(`namespace ${ANY_OF}`, query.namespaces.length === 0 ? null : JSON.stringify(query.namespaces));
  return slice(
    sql,
    `SELECT key, body FROM trail WHERE ${where.join(" AND ")} ORDER BY key DESC LIMIT ?`,
    values,
    query.limit,
  );
}

function slice(sql: SqlStorage, select: string, values: (string | number)[], limit: number): Slice {
  const rows = sql.exec<Keyed>(select, ...values, limit + 1).toArray();
  const more = rows.length > limit;
  if (more) rows.pop();
  return { keys: rows.map(({ key }) => key), bodies: rows.map(({ body }) => body), more };
}
