/** Rows of a block. Small enough that moving half of one is cheap, large enough that there are few. */
const MOST = 512;
const FILL = 384;

export type Compare = (a: number, b: number) => number;

/** The rows of a table in some order, as blocks of row numbers. Only `compare` knows what the order is. */
export class OrderedRows {
  readonly compare: Compare;
  blocks: Int32Array[] = [];
  counts: number[] = [];
  length = 0;
  /** Where the last `seek` ended. */
  block = 0;
  offset = 0;

  /** @param compare never 0 for two different rows that are both kept here */
  constructor(compare: Compare) {
    this.compare = compare;
  }

  /** @param rows all rows, in any order; sorted in place */
  build(rows: Int32Array): void {
    const { compare } = this;
    let sorted = true;
    for (let i = 1; sorted && i < rows.length; i++) sorted = compare(rows[i - 1] as number, rows[i] as number) <= 0;
    if (!sorted) rows.sort(compare);
    this.blocks = [];
    this.counts = [];
    for (let at = 0; at < rows.length; at += FILL) {
      const piece = rows.subarray(at, Math.min(at + FILL, rows.length));
      const block = new Int32Array(MOST);
      block.set(piece);
      this.blocks.push(block);
      this.counts.push(piece.length);
    }
    this.length = rows.length;
  }

  insert(row: number): void {
    const { blocks, counts } = this;
    this.length++;
    if (blocks.length === 0) {
      blocks.push(new Int32Array(MOST));
      counts.push(0);
    }
    this.seek(row, this.compare, false);
    // A row that comes after all of a block goes to its end rather than to the beginning of the next.
    if (this.block > 0 && this.offset === 0) {
      this.block--;
      this.offset = counts[this.block] as number;
    }
    let at = this.block;
    let offset = this.offset;
    if (counts[at] === MOST) {
      // Rows that come in order fill their blocks: only what is inserted in the middle splits them in halves.
      const keep = offset === MOST && at === blocks.length - 1 ? MOST : MOST / 2;
      const next = new Int32Array(MOST);
      next.set((blocks[at] as Int32Array).subarray(keep, MOST));
      blocks.splice(at + 1, 0, next);
      counts.splice(at + 1, 0, MOST - keep);
      counts[at] = keep;
      if (offset > keep || keep === MOST) {
        at++;
        offset -= keep;
      }
    }
    const block = blocks[at] as Int32Array;
    const count = counts[at] as number;
    block.copyWithin(offset + 1, offset, count);
    block[offset] = row;
    counts[at] = count + 1;
  }

  /** The row's own values must still be those that it was inserted with. */
  remove(row: number): void {
    this.seek(row, this.compare, false);
    const { block: at, offset } = this;
    const block = this.blocks[at];
    if (block === undefined || block[offset] !== row) throw new Error("an index has lost a row");
    const count = (this.counts[at] as number) - 1;
    block.copyWithin(offset, offset + 1, count + 1);
    this.counts[at] = count;
    this.length--;
    if (count === 0) {
      this.blocks.splice(at, 1);
      this.counts.splice(at, 1);
    }
  }

  /** Sets `block` and `offset` to the first row that is not before `probe`; with `past`, to the first that is after it. */
  seek(probe: number, compare: Compare, past: boolean): void {
    const { blocks, counts } = this;
    const bound = past ? 1 : 0;
    let low = 0;
    let high = blocks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const block = blocks[middle] as Int32Array;
      if (compare(block[(counts[middle] as number) - 1] as number, probe) < bound) low = middle + 1;
      else high = middle;
    }
    this.block = low;
    this.offset = 0;
    if (low === blocks.length) return;
    const block = blocks[low] as Int32Array;
    let from = 0;
    let to = counts[low] as number;
    while (from < to) {
      const middle = (from + to) >>> 1;
      if (compare(block[middle] as number, probe) < bound) from = middle + 1;
      else to = middle;
    }
    this.offset = from;
  }

  /** The row that equals `probe`; -1 when there is none. */
  find(probe: number, compare: Compare): number {
    this.seek(probe, compare, false);
    const row = this.blocks[this.block]?.[this.offset];
    if (row === undefined || this.offset >= (this.counts[this.block] as number)) return -1;
    return compare(row, probe) === 0 ? row : -1;
  }

  all(): Int32Array {
    const rows = new Int32Array(this.length);
    let at = 0;
    for (let i = 0; i < this.blocks.length; i++) {
      rows.set((this.blocks[i] as Int32Array).subarray(0, this.counts[i]), at);
      at += this.counts[i] as number;
    }
    return rows;
  }

  bytes(): number {
    return this.blocks.length * MOST * 4;
  }
}
