import picocolors from "picocolors";
import { describe, expect, test } from "vitest";
import { age, span } from "../../cli/age.ts";
import { type Column, table } from "../../cli/table.ts";
import { oneLine } from "../../cli/terminal.ts";

type Row = { id: string; name: string; status: string; image: string };
const rows: Row[] = [
  {
    id: "dep_01m7yqnzfte3sgj7encys0py57",
    name: "web",
    status: "running",
    image: "registry.example.com/team/web:1.24.3",
  },
  {
    id: "dep_01m7yqp15v0ezeqx7ztnzdzwne",
    name: "a-rather-long-name-for-a-deployment",
    status: "crash_loop_back_off",
    image: "nginx",
  },
];
const columns: Column<Row>[] = [
  { title: "id", value: (row) => row.id, weight: 1 },
  { title: "name", value: (row) => row.name, shrink: 16 },
  { title: "status", value: (row) => row.status, paint: (text, _row, color) => color.green(text) },
  { title: "image", value: (row) => row.image, weight: 2, shrink: 10 },
];
const plain = picocolors.createColors(false);
const draw = (width: number | null, color = plain) => table(columns, rows, width, color);

describe("a table", () => {
  test.each([60, 80, 100, 200])("fits %i columns", (width) => {
    for (const line of draw(width).split("\n")) expect(line.length).toBeLessThanOrEqual(width);
  });

  test("at 60 shows what matters most", () => {
    expect(draw(60)).toBe(
      [
        "NAME                         STATUS               IMAGE",
        "web                          running              registry.…",
        "a-rather-long-name-for-a-d…  crash_loop_back_off  nginx",
        "",
      ].join("\n"),
    );
  });

  test("at 200 and in a pipe shows all of it", () => {
    expect(draw(200)).toBe(draw(null));
    expect(draw(null)).toContain("dep_01m7yqnzfte3sgj7encys0py57  web ");
    expect(draw(null)).toContain("registry.example.com/team/web:1.24.3");
  });

  test("even too narrow a terminal gets the columns that are never left out", () => {
    const lines = draw(20).split("\n");
    expect(lines[0]).toMatch(/^NAME +STATUS$/);
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(20);
  });

  test("has colours only when they are on", () => {
    const painted = draw(80, picocolors.createColors(true));
    expect(painted).toContain("\u001b[32mrunning");
    expect(draw(80)).not.toContain("\u001b");
    // biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences are what is looked for
    expect(painted.replaceAll(/\u001b\[\d+m/g, "")).toBe(draw(80));
  });
});

test("text from elsewhere cannot steer the terminal", () => {
  expect(oneLine("a\u001b[31mred\u001b[0m\n\tb\u0007\u009b2Jc")).toBe("ared bc");
});

test("ages and spans", () => {
  const now = Date.parse("2026-11-21T12:00:00Z");
  expect(age("2026-11-21T11:59:57.2Z", now)).toBe("2s");
  expect(age("2026-11-21T12:00:05Z", now)).toBe("0s");
  expect([999, 59_000, 90_000, 5 * 60_000 + 9000, 3_600_000 * 3, 3_600_000 * 25, 86_400_000 * 9].map(span)).toEqual([
    "0s",
    "59s",
    "1m30s",
    "5m",
    "3h",
    "1d1h",
    "9d",
  ]);
});
