import type { ColumnType } from "../../../contract/source-schema.ts";
import { type Cell, type Cells, dayOf, wideFromText, ZERO_DAY, ZERO_MOMENT } from "../../store/cell.ts";
import type { TableMap } from "./binlog-event.ts";

/** A column of the log: where its value goes, and as what. `place` null: nowhere. */
export type ImageColumn = {
  place: number | null;
  type: ColumnType | null;
  unsigned: boolean;
  charset: string | null /** BINARY: bytes that were zero at the end are not in the log. */;
  padTo: number;
};

/** The log has a type of value here that is not read. */
export class UnreadableImage extends Error {}

/** Reads row images of one table as the log's own table map describes them. */
export class ImageReader {
  readonly #map: TableMap;
  readonly #columns: readonly ImageColumn[];
  readonly #width: number;
  #at = 0;
  #data: Buffer = Buffer.alloc(0);

  /** @param width how many columns a row has here */
  constructor(map: TableMap, columns: readonly ImageColumn[], width: number) {
    this.#map = map;
    this.#columns = columns;
    this.#width = width;
  }

  begin(data: Buffer): void {
    this.#data = data;
    this.#at = 0;
  }

  get done(): boolean {
    return this.#at >= this.#data.length;
  }

  next(): Cells {
    const { types } = this.#map;
    const nulls = this.#at;
    this.#at += (types.length + 7) >> 3;
    const cells: Cells = new Array(this.#width).fill(null);
    for (let i = 0; i < types.length; i++) {
      if (((this.#data[nulls + (i >> 3)] as number) >> (i & 7)) & 1) continue;
      const column = this.#columns[i] as ImageColumn;
      const cell = this.#value(types[i] as number, this.#map.metadata[i] as number, column);
      if (column.place !== null) cells[column.place] = cell;
    }
    return cells;
  }

  #value(type: number, metadata: number, column: ImageColumn): Cell {
    const data = this.#data;
    const at = this.#at;
    switch (type) {
      case 1:
        this.#at += 1;
        return whole(column.unsigned ? (data[at] as number) : data.readInt8(at), column);
      case 2:
        this.#at += 2;
        return column.unsigned ? data.readUInt16LE(at) : data.readInt16LE(at);
      case 9:
        this.#at += 3;
        return column.unsigned ? data.readUIntLE(at, 3) : data.readIntLE(at, 3);
      case 3:
        this.#at += 4;
        return column.unsigned ? data.readUInt32LE(at) : data.readInt32LE(at);
      case 8: {
        this.#at += 8;
        const value = column.unsigned ? data.readBigUInt64LE(at) : data.readBigInt64LE(at);
        const number = Number(value);
        return Number.isSafeInteger(number) ? number : value;
      }
      case 13:
        this.#at += 1;
        return data[at] === 0 ? 0 : 1900 + (data[at] as number);
      case 4:
        this.#at += 4;
        return data.readFloatLE(at);
      case 5:
        this.#at += 8;
        return data.readDoubleLE(at);
      case 246:
        return this.#decimal(metadata & 0xff, metadata >> 8, column);
      case 16: {
        const bytes = (metadata >> 8) + ((metadata & 0xff) > 0 ? 1 : 0);
        this.#at += bytes;
        let value = 0n;
        for (let i = 0; i < bytes; i++) value = (value << 8n) | BigInt(data[at + i] as number);
        return whole(wideFromText(String(value)), column);
      }
      case 10:
      case 14: {
        this.#at += 3;
        const packed = data.readUIntLE(at, 3);
        return day(packed >> 9, (packed >> 5) & 15, packed & 31);
      }
      case 7:
        this.#at += 4;
        return data.readUInt32LE(at) === 0 ? ZERO_MOMENT : data.readUInt32LE(at) * 1e6;
      case 17: {
        this.#at += 4;
        const seconds = data.readUInt32BE(at);
        const micros = this.#fraction(metadata);
        return seconds === 0 && micros === 0 ? ZERO_MOMENT : seconds * 1e6 + micros;
      }
      case 18: {
        this.#at += 5;
        const packed = data.readUIntBE(at, 5) - 0x8000000000;
        const micros = this.#fraction(metadata);
        const months = Math.floor(packed / 2 ** 22);
        const [date, clock] = [Math.floor(packed / 2 ** 17) & 31, packed & 0x1ffff];
        const days = day(Math.floor(months / 13), months % 13, date);
        if (days === ZERO_DAY) return ZERO_MOMENT;
        return (days * 86_400 + (clock >> 12) * 3600 + ((clock >> 6) & 63) * 60 + (clock & 63)) * 1e6 + micros;
      }
      case 19:
        return this.#time(metadata);
      case 15:
      case 253:
        return this.#text(metadata > 255 ? 2 : 1, column);
      case 252:
      case 245:
      case 255:
        return this.#text(metadata, column);
      case 254:
        return this.#string(metadata, column);
      default:
        throw new UnreadableImage(`the log has a value of type ${type}`);
    }
  }

  /** Fixed-width text, and what travels as such: enumerations and sets. */
  #string(metadata: number, column: ImageColumn): Cell {
    const [low, high] = [metadata & 0xff, metadata >> 8];
    const isLong = (low & 0x30) !== 0x30;
    const type = isLong ? low | 0x30 : low;
    const length = isLong ? high | (((low & 0x30) ^ 0x30) << 4) : high;
    if (type === 247) {
      const index = this.#data.readUIntLE(this.#at, high);
      this.#at += high;
      return column.type?.kind === "enum" ? (index === 0 ? "" : (column.type.values[index - 1] ?? "")) : null;
    }
    if (type === 248) {
      let bits = 0n;
      for (let i = high - 1; i >= 0; i--) bits = (bits << 8n) | BigInt(this.#data[this.#at + i] as number);
      this.#at += high;
      return column.type?.kind === "set"
        ? column.type.values.filter((_, i) => (bits >> BigInt(i)) & 1n).join(",")
        : null;
    }
    return this.#text(length > 255 ? 2 : 1, column);
  }

  #text(lengthBytes: number, column: ImageColumn): Cell {
    const length = this.#data.readUIntLE(this.#at, lengthBytes);
    const from = this.#at + lengthBytes;
    this.#at = from + length;
    if (column.place === null) return null;
    if (column.type?.kind !== "bytes") return decoded(this.#data.subarray(from, from + length), column.charset);
    const bytes = this.#data.subarray(from, from + length);
    return (column.padTo <= length ? bytes : Buffer.concat([bytes, Buffer.alloc(column.padTo - length)])).toString(
      "base64",
    );
  }

  /** Digits in groups of nine, big-endian, the first bit flipped; negative numbers have all bits flipped. */
  #decimal(precision: number, scale: number, column: ImageColumn): Cell {
    const sizes = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];
    const whole = precision - scale;
    const groups = [
      { digits: whole % 9, bytes: sizes[whole % 9] as number },
      ...new Array(Math.floor(whole / 9)).fill({ digits: 9, bytes: 4 }),
      ...new Array(Math.floor(scale / 9)).fill({ digits: 9, bytes: 4 }),
      { digits: scale % 9, bytes: sizes[scale % 9] as number },
    ];
    const length = groups.reduce((sum, { bytes }) => sum + bytes, 0);
    const data = Buffer.from(this.#data.subarray(this.#at, this.#at + length));
    this.#at += length;
    const isNegative = ((data[0] as number) & 0x80) === 0;
    data[0] = (data[0] as number) ^ 0x80;
    if (isNegative) for (let i = 0; i < length; i++) data[i] = ~(data[i] as number) & 0xff;
    let [digits, at] = ["", 0];
    for (const { digits: count, bytes } of groups) {
      if (bytes > 0) digits += String(data.readUIntBE(at, bytes)).padStart(count, "0");
      at += bytes;
    }
    const sign = isNegative ? "-" : "";
    const isScaled = precision <= 15 && column.type?.kind === "decimal" && column.type.precision !== null;
    if (isScaled) return Number(sign + digits);
    const shown = digits.slice(0, whole).replace(/^0+(?=\d)/, "") || "0";
    return `${sign}${shown}${scale === 0 ? "" : `.${digits.slice(whole)}`}`;
  }

  #fraction(digits: number): number {
    const bytes = (digits + 1) >> 1;
    if (bytes === 0) return 0;
    const value = this.#data.readUIntBE(this.#at, bytes);
    this.#at += bytes;
    return value * 100 ** (3 - bytes);
  }

  #time(digits: number): number {
    const bytes = 3 + ((digits + 1) >> 1);
    const packed = this.#data.readUIntBE(this.#at, bytes);
    this.#at += bytes;
    const unit = 256 ** (bytes - 3);
    const value = packed - 0x800000 * unit;
    const absolute = Math.abs(value);
    const clock = Math.floor(absolute / unit);
    const micros = (absolute % unit) * 100 ** (6 - bytes);
    const seconds = ((clock >> 12) & 0x3ff) * 3600 + ((clock >> 6) & 63) * 60 + (clock & 63);
    return (value < 0 ? -1 : 1) * (seconds * 1e6 + micros);
  }
}

const day = (year: number, month: number, date: number): number =>
  month === 0 || date === 0 ? ZERO_DAY : dayOf(year, month, date);

/** Booleans are small integers in the log. */
const whole = (value: number | bigint, { type }: ImageColumn): Cell =>
  type?.kind === "boolean" ? (Number(value) === 0 ? 0 : 1) : value;

const ENCODINGS: Record<string, string> = {
  ...{
    latin1: "windows-1252",
    latin2: "iso-8859-2",
    latin5: "windows-1254",
    latin7: "iso-8859-13",
    cp1250: "windows-1250",
  },
  ...{
    cp1251: "windows-1251",
    cp1256: "windows-1256",
    cp1257: "windows-1257",
    cp866: "ibm866",
    koi8r: "koi8-r",
    koi8u: "koi8-u",
  },
  ...{
    greek: "iso-8859-7",
    hebrew: "iso-8859-8",
    gbk: "gbk",
    gb2312: "gbk",
    gb18030: "gb18030",
    big5: "big5",
    euckr: "euc-kr",
  },
  ...{
    sjis: "shift_jis",
    cp932: "shift_jis",
    ujis: "euc-jp",
    eucjpms: "euc-jp",
    ucs2: "utf-16be",
    utf16: "utf-16be",
    utf16le: "utf-16le",
  },
};
const decoders = new Map<string, TextDecoder>();

const isUtf8 = (charset: string): boolean => charset.startsWith("utf8") || charset === "ascii" || charset === "binary";

/** Whether text in this character set can be read from the log. */
export const isReadable = (charset: string | null): boolean =>
  charset === null || isUtf8(charset) || charset in ENCODINGS;

function decoded(bytes: Buffer, charset: string | null): string {
  if (charset === null || isUtf8(charset)) return bytes.toString("utf8");
  let decoder = decoders.get(charset);
  if (decoder === undefined) {
    decoder = new TextDecoder(ENCODINGS[charset]);
    decoders.set(charset, decoder);
  }
  return decoder.decode(bytes);
}
