/** @see https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html */
export type Tuple = (string | null | undefined)[];

export type Message =
  | { kind: "begin" }
  | { kind: "commit"; end: bigint }
  | { kind: "relation"; id: number; schema: string; table: string; columns: { name: string; isKey: boolean }[] }
  | { kind: "insert"; relation: number; after: Tuple }
  /** `before`: only its key, or everything, or null where the key is as it was. */
  | { kind: "update"; relation: number; before: Tuple | null; after: Tuple }
  | { kind: "delete"; relation: number; before: Tuple }
  | { kind: "truncate"; relations: number[] }
  | { kind: "other" };

export function readMessage(data: Buffer): Message {
  const type = String.fromCharCode(data[0] as number);
  switch (type) {
    case "B":
      return { kind: "begin" };
    case "C":
      return { kind: "commit", end: data.readBigUInt64BE(10) };
    case "R":
      return relation(data);
    case "I":
      return { kind: "insert", relation: data.readUInt32BE(1), after: tuple(data, 6).values };
    case "U": {
      const first = tuple(data, 6);
      const isNew = data[5] === 0x4e;
      const after = isNew ? first.values : tuple(data, first.next + 1).values;
      return { kind: "update", relation: data.readUInt32BE(1), before: isNew ? null : first.values, after };
    }
    case "D":
      return { kind: "delete", relation: data.readUInt32BE(1), before: tuple(data, 6).values };
    case "T": {
      const count = data.readUInt32BE(1);
      return { kind: "truncate", relations: Array.from({ length: count }, (_, i) => data.readUInt32BE(6 + i * 4)) };
    }
    default:
      return { kind: "other" };
  }
}

function relation(data: Buffer): Message {
  let at = 5;
  const text = () => {
    const end = data.indexOf(0, at);
    const value = data.toString("utf8", at, end);
    at = end + 1;
    return value;
  };
  const [schema, table] = [text() || "pg_catalog", text()];
  const count = data.readUInt16BE(at + 1);
  at += 3;
  const columns = Array.from({ length: count }, () => {
    const isKey = ((data[at++] as number) & 1) === 1;
    const name = text();
    at += 8;
    return { name, isKey };
  });
  return { kind: "relation", id: data.readUInt32BE(1), schema, table, columns };
}

/** Undefined: a large value that did not change, and was not sent. */
function tuple(data: Buffer, from: number): { values: Tuple; next: number } {
  const count = data.readUInt16BE(from);
  let at = from + 2;
  const values: Tuple = [];
  for (let i = 0; i < count; i++) {
    const kind = data[at++];
    if (kind === 0x6e) values.push(null);
    else if (kind === 0x75) values.push(undefined);
    else {
      const length = data.readUInt32BE(at);
      values.push(data.toString("utf8", at + 4, at + 4 + length));
      at += 4 + length;
    }
  }
  return { values, next: at };
}
