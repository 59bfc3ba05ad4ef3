import type { Position } from "../source.ts";

/** A position in the write-ahead log. */
export class PostgresPosition implements Position {
  readonly lsn: bigint;

  constructor(lsn: bigint) {
    this.lsn = lsn;
  }

  /** `16/B374D848` */
  static parse(text: string): PostgresPosition | null {
    const match = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/.exec(text.trim());
    return match === null ? null : new PostgresPosition((BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`));
  }

  get text(): string {
    return `${(this.lsn >> 32n).toString(16).toUpperCase()}/${(this.lsn & 0xffff_ffffn).toString(16).toUpperCase()}`;
  }
}
