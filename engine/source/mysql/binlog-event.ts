import { crc32, inflateSync } from "node:zlib";

/** @see https://mariadb.com/kb/en/replication-protocol/ */
export const EVENT = {
  query: 2,
  rotate: 4,
  format: 15,
  xid: 16,
  tableMap: 19,
  writeV1: 23,
  updateV1: 24,
  deleteV1: 25,
  heartbeat: 27,
  writeV2: 30,
  updateV2: 31,
  deleteV2: 32,
  mysqlGtid: 33,
  partialUpdate: 39,
  mysqlPayload: 40,
  mariadbGtid: 162,
  compressedQuery: 165,
  compressedWrite: 166,
  compressedUpdate: 167,
  compressedDelete: 168,
} as const;

export type BinlogEvent = {
  type: number;
  /** Where the next one begins; 0 for those that are in no file. */
  end: number;
  serverId: number;
  body: Buffer;
};

const HEADER = 19;
const CHECKSUM = 4;
const CRC32 = 1;

/** The log has an event that is not as it was written. */
export class DamagedEvent extends Error {}

/** Takes the checksums off events, where their log has them. */
export class Checksums {
  #isOn = false;

  /** The event without. */
  check(data: Buffer): Buffer {
    const type = data[4] as number;
    const rest = data.subarray(0, Math.max(HEADER, data.length - CHECKSUM));
    const isRight = rest.length + CHECKSUM === data.length && crc32(rest) === data.readUInt32LE(rest.length);
    // The description of a file ends with how all that follow are checked.
    if (type === EVENT.format) this.#isOn = data[data.length - CHECKSUM - 1] === CRC32;
    if (isRight) return rest;
    // What the server makes up itself, and is in no file, may be without.
    const isOwn = type === EVENT.rotate || type === EVENT.heartbeat || type === EVENT.format;
    if (this.#isOn && !isOwn)
      throw new DamagedEvent(`an event of type ${type} does not have the checksum that it was written with`);
    return data;
  }
}

export function readEvent(data: Buffer): BinlogEvent {
  return {
    ...{ type: data[4] as number, serverId: data.readUInt32LE(5) },
    ...{ end: data.readUInt32LE(13), body: data.subarray(HEADER) },
  };
}

export const readRotate = (body: Buffer): { file: string; offset: number } => ({
  offset: Number(body.readBigUInt64LE(0)),
  file: body.toString("utf8", 8),
});

export function readQuery({ body, type }: BinlogEvent): { schema: string; sql: string } {
  const schemaLength = body[8] as number;
  const at = 13 + body.readUInt16LE(11);
  const text = body.subarray(at + schemaLength + 1);
  const sql = type === EVENT.compressedQuery ? inflated(text) : text;
  return { schema: body.toString("utf8", at, at + schemaLength), sql: sql.toString("utf8") };
}

/** `standalone`: there is no commit after it. */
export function readMariadbGtid({ body, serverId }: BinlogEvent): {
  domain: number;
  server: number;
  number: bigint;
  standalone: boolean;
} {
  return {
    ...{ number: body.readBigUInt64LE(0), domain: body.readUInt32LE(8), server: serverId },
    standalone: ((body[12] as number) & 1) === 1,
  };
}

export type TableMap = { id: number; schema: string; table: string; types: Uint8Array; metadata: number[] };

export function readTableMap(body: Buffer): TableMap {
  const id = body.readUIntLE(0, 6);
  let at = 8;
  const text = () => {
    const length = body[at] as number;
    const value = body.toString("utf8", at + 1, at + 1 + length);
    at += length + 2;
    return value;
  };
  const [schema, table] = [text(), text()];
  const count = lengthAt(body, at);
  at = count.next;
  const types = body.subarray(at, at + count.value);
  at = lengthAt(body, at + count.value).next;
  const metadata = [...types].map((type) => {
    const bytes = METADATA_BYTES[type] ?? 0;
    const value = bytes === 0 ? 0 : bytes === 1 ? (body[at] as number) : body.readUInt16LE(at);
    at += bytes;
    return value;
  });
  return { id, schema, table, types, metadata };
}

const METADATA_BYTES: Record<number, number> = {
  ...{ 4: 1, 5: 1, 245: 1, 252: 1, 255: 1, 17: 1, 18: 1, 19: 1 },
  ...{ 15: 2, 16: 2, 246: 2, 247: 2, 248: 2, 253: 2, 254: 2, 140: 1, 141: 2 },
};

export type RowsEvent = {
  tableId: number;
  kind: "write" | "update" | "delete";
  columns: number /** All columns are in every image. */;
  full: boolean;
  rows: Buffer;
};

export function readRows({ type, body }: BinlogEvent): RowsEvent {
  const tableId = body.readUIntLE(0, 6);
  const isV2 = type >= EVENT.writeV2 && type <= EVENT.deleteV2;
  const start = isV2 ? 8 + body.readUInt16LE(8) : 8;
  const count = lengthAt(body, start);
  const bytes = (count.value + 7) >> 3;
  const kind = KINDS[type] ?? "write";
  const images = kind === "update" ? 2 : 1;
  const at = count.next;
  let full = true;
  for (let image = 0; image < images; image++)
    for (let i = 0; i < count.value; i++)
      full &&= (((body[at + image * bytes + (i >> 3)] as number) >> (i & 7)) & 1) === 1;
  const rest = body.subarray(at + images * bytes);
  return { tableId, kind, columns: count.value, full, rows: type >= EVENT.compressedWrite ? inflated(rest) : rest };
}

const KINDS: Record<number, RowsEvent["kind"]> = {
  ...{ [EVENT.writeV1]: "write", [EVENT.writeV2]: "write", [EVENT.compressedWrite]: "write" },
  ...{ [EVENT.updateV1]: "update", [EVENT.updateV2]: "update", [EVENT.compressedUpdate]: "update" },
  ...{ [EVENT.deleteV1]: "delete", [EVENT.deleteV2]: "delete", [EVENT.compressedDelete]: "delete" },
};
export const isRows = (type: number): boolean => type in KINDS;

/** MariaDB's own framing: a byte that says how long the length is, the length, then zlib. */
function inflated(data: Buffer): Buffer {
  const lengthBytes = (data[0] as number) & 0x07;
  return inflateSync(data.subarray(1 + lengthBytes));
}

function lengthAt(body: Buffer, at: number): { value: number; next: number } {
  const first = body[at] as number;
  if (first < 251) return { value: first, next: at + 1 };
  if (first === 252) return { value: body.readUInt16LE(at + 1), next: at + 3 };
  return { value: body.readUIntLE(at + 1, 3), next: at + 4 };
}
