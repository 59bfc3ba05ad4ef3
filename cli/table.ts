import Table from "cli-table3";
import type { Colors } from "./terminal.ts";

export type Column<Row> = {
  title: string;
  value: (row: Row) => string;
  /** The lowest is left out first when the table is too wide; 0 is never left out. Default 0. */
  weight?: number;
  /** May be cut down to this many characters before any column is left out. */
  shrink?: number;
  align?: "right";
  paint?: (text: string, row: Row, color: Colors) => string;
};

const GAP = 2;

/** Rows under titles, without lines, no wider than `width` (null: as wide as it comes out). Ends with a line break. */
export function table<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  width: number | null,
  color: Colors,
): string {
  const cells = new Map(columns.map((column) => [column, rows.map((row) => column.value(row))]));
  const natural = (column: Column<Row>) =>
    Math.max(column.title.length, ...(cells.get(column) as string[]).map((cell) => cell.length));
  const fitted = fitColumns(
    columns.map((column) => ({ column, width: natural(column) })),
    width,
  );
  const grid = new Table({
    chars: Object.fromEntries(BORDERS.map((name) => [name, ""])),
    style: { head: [], border: [], "padding-left": 0, "padding-right": GAP, compact: true },
    colWidths: fitted.map((one) => one.width + GAP),
    colAligns: fitted.map(({ column }) => column.align ?? "left"),
    wordWrap: false,
  });
  grid.push(fitted.map(({ column, width: cut }) => color.bold(cutTo(column.title.toUpperCase(), cut))));
  rows.forEach((row, index) => {
    grid.push(
      fitted.map(({ column, width: cut }) => {
        const text = cutTo((cells.get(column) as string[])[index] as string, cut);
        return column.paint === undefined ? text : column.paint(text, row, color);
      }),
    );
  });
  return `${grid
    .toString()
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n")}\n`;
}

const BORDERS = [
  ...["top", "top-mid", "top-left", "top-right", "bottom", "bottom-mid", "bottom-left", "bottom-right"],
  ...["left", "left-mid", "mid", "mid-mid", "right", "right-mid", "middle"],
];

type Sized<Row> = { column: Column<Row>; width: number };

function fitColumns<Row>(columns: readonly Sized<Row>[], width: number | null): Sized<Row>[] {
  const total = (sized: readonly Sized<Row>[]) => sized.reduce((sum, one) => sum + one.width + GAP, -GAP);
  if (width === null || total(columns) <= width) return [...columns];
  const least = columns.map((one) => ({ ...one, width: Math.min(one.width, one.column.shrink ?? one.width) }));
  let spare = width - total(least);
  if (spare >= 0) {
    return least.map((one, index) => {
      const grown = Math.min((columns[index] as Sized<Row>).width, one.width + spare);
      spare -= grown - one.width;
      return { ...one, width: grown };
    });
  }
  const droppable = columns.filter((one) => (one.column.weight ?? 0) > 0);
  const drop = droppable.sort((a, b) => (a.column.weight ?? 0) - (b.column.weight ?? 0))[0];
  if (drop !== undefined)
    return fitColumns(
      columns.filter((one) => one !== drop),
      width,
    );
  return squeeze(least, width);
}

/** Nothing more can be left out: takes from the widest column until it fits. */
function squeeze<Row>(columns: Sized<Row>[], width: number): Sized<Row>[] {
  for (;;) {
    const total = columns.reduce((sum, one) => sum + one.width + GAP, -GAP);
    const widest = columns.reduce((a, b) => (b.width > a.width ? b : a));
    if (total <= width || widest.width <= 4) return columns;
    widest.width--;
  }
}

const cutTo = (text: string, width: number): string =>
  text.length <= width ? text : `${text.slice(0, Math.max(1, width) - 1)}…`;
