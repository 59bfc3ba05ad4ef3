import type { Line } from "./figure.ts";

const HEAD = ["figure", "what", "n", "p50", "p99", "unit", "bare p50", "bare p99", "ratio", "goal", ""] as const;
const RIGHT: ReadonlySet<string> = new Set(["n", "p50", "p99", "bare p50", "bare p99", "ratio"]);

/** The figures as a table. */
export function summary(lines: readonly (Line & { figure: string })[]): string {
  const rows = lines.map((line) => cells(line));
  const widths = HEAD.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const text = (row: readonly string[]) =>
    row
      .map((cell, column) =>
        RIGHT.has(HEAD[column] ?? "") ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
      )
      .join("  ")
      .trimEnd();
  const missed = lines.filter(({ goal }) => goal?.met === false).length;
  const goals = lines.filter(({ goal }) => goal !== undefined).length;
  return [text(HEAD), ...rows.map(text), "", `${goals - missed} of ${goals} goals met`].join("\n");
}

function cells({ figure, what, unit, ours, bare, ratio, goal }: Line & { figure: string }): string[] {
  return [
    figure,
    bare === undefined ? what : `${what}, over: ${bare.what}`,
    String(ours.n),
    short(ours.p50),
    short(ours.p99),
    unit,
    bare === undefined ? "" : short(bare.p50),
    bare === undefined ? "" : short(bare.p99),
    ratio === undefined ? "" : ratio.toFixed(2),
    goal?.text ?? "",
    goal === undefined ? "" : goal.met ? "met" : "MISSED",
  ];
}

const short = (value: number): string =>
  Math.abs(value) >= 100 ? value.toFixed(0) : Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(2);
