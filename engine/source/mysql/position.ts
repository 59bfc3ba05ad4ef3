import type { Position } from "../source.ts";

/** MariaDB's GTIDs, one per domain, and where that is in the log's files. Either may be missing. */
export class MysqlPosition implements Position {
  readonly file: string | null;
  readonly offset: number;
  /** By domain: server and number. Null: this server has none. */
  readonly gtids: ReadonlyMap<number, { server: number; number: bigint }> | null;

  /** Every answer has it. */
  #text: string | null = null;

  constructor(file: string | null, offset: number, gtids: MysqlPosition["gtids"]) {
    this.file = file;
    this.offset = offset;
    this.gtids = gtids;
  }

  /** `mariadb-bin.000001:329`, `0-1-17`, or both with a slash between. */
  static parse(text: string): MysqlPosition | null {
    const match = /^(?:([^:/\s]+):(\d+))?(?:(?:^|\/)((?:\d+-\d+-\d+)(?:,\d+-\d+-\d+)*)?)?$/.exec(text.trim());
    if (match === null || text.trim() === "") return null;
    const [, file, offset, gtids] = match;
    return new MysqlPosition(file ?? null, Number(offset ?? 0), gtids === undefined ? null : parseGtids(gtids));
  }

  get text(): string {
    this.#text ??= this.#written();
    return this.#text;
  }

  #written(): string {
    const place = this.file === null ? "" : `${this.file}:${this.offset}`;
    return this.gtids === null || this.gtids.size === 0 ? place : `${place}/${this.gtidText}`;
  }

  get gtidText(): string {
    const all = [...(this.gtids ?? [])].sort(([a], [b]) => a - b);
    return all.map(([domain, { server, number }]) => `${domain}-${server}-${number}`).join(",");
  }

  /** By file and offset where both have them; by GTID otherwise, where every domain must have got as far. */
  compare(other: MysqlPosition): number {
    if (this.file !== null && other.file !== null) {
      const [a, b] = [fileNumber(this.file), fileNumber(other.file)];
      return a !== b ? a - b : this.offset - other.offset;
    }
    let order = 0;
    for (const [domain, { number }] of other.gtids ?? []) {
      const own = this.gtids?.get(domain)?.number ?? -1n;
      if (own < number) return -1;
      if (own > number) order = 1;
    }
    return order;
  }
}

const fileNumber = (file: string): number => Number(/\.(\d+)$/.exec(file)?.[1] ?? 0);

export function parseGtids(text: string): Map<number, { server: number; number: bigint }> {
  const gtids = new Map<number, { server: number; number: bigint }>();
  for (const each of text.split(",").filter((part) => part !== "")) {
    const [domain, server, number] = each.trim().split("-");
    gtids.set(Number(domain), { server: Number(server), number: BigInt(number ?? 0) });
  }
  return gtids;
}
