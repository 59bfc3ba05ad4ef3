// Every type that has a mapping: the same value whether it was loaded or came with the stream, and what queries make of it.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EngineProcess } from "./engine-process.ts";
import { parts, type TestSource, testSource } from "./sources.ts";

type Case = readonly [declared: string, sql: string, json: unknown, filter?: string];

const MYSQL: readonly Case[] = [
  ["TINYINT", "-128", -128, "= -128"],
  ["TINYINT UNSIGNED", "255", 255],
  ["TINYINT(1)", "1", true, "= true"],
  ["BIT(1)", "b'1'", true, "= true"],
  ["BIT(12)", "b'101010101010'", 2730, "> 2000"],
  ["SMALLINT UNSIGNED", "65535", 65535],
  ["MEDIUMINT", "-8388608", -8388608],
  ["INT UNSIGNED", "4294967295", 4294967295, "= 4294967295"],
  ["BIGINT", "-9223372036854775808", "-9223372036854775808", "= -9223372036854775808"],
  ["BIGINT UNSIGNED", "18446744073709551615", "18446744073709551615", "> 18446744073709551614"],
  ["BIGINT", "9007199254740991", 9007199254740991],
  ["YEAR", "2155", 2155],
  ["DECIMAL(5,2)", "-0.05", "-0.05", "= -0.05"],
  ["DECIMAL(15,0)", "999999999999999", "999999999999999"],
  [
    "DECIMAL(65,30)",
    "-12345678901234567890123456789012345.000000000000000000000000000001",
    "-12345678901234567890123456789012345.000000000000000000000000000001",
    "< -12345678901234567890123456789012345",
  ],
  ["FLOAT", "3.14190", 3.1419],
  ["DOUBLE", "-1.7976931348623157e308", -1.7976931348623157e308],
  ["CHAR(5)", "'ab '", "ab", '= "ab"'],
  ["VARCHAR(300)", `'${"é".repeat(300)}'`, "é".repeat(300)],
  ["TEXT", "'a\\tb\\n\"c\\\\ 😀'", 'a\tb\n"c\\ 😀', 'LIKE "%😀"'],
  ["VARCHAR(10) CHARACTER SET latin1", "'é€'", "é€"],
  ["VARCHAR(10) CHARACTER SET cp1251", "'Ж'", "Ж"],
  ["MEDIUMTEXT CHARACTER SET ucs2", "'日本'", "日本"],
  ["ENUM('small','it''s')", "'it''s'", "it's", '= "it\'s"'],
  ["SET('a','b','c')", "'c,a'", ["a", "c"], '= "a,c"'],
  ["JSON", `'{"a": [1, null]}'`, { a: [1, null] }, "IS NOT NULL"],
  ["BINARY(4)", "0x6100", "YQAAAA==", '= "YQAAAA=="'],
  ["VARBINARY(10)", "0x00ff00", "AP8A"],
  ["BLOB", "0x5c00", "XAA="],
  ["DATE", "'1000-01-01'", "1000-01-01", '= "1000-01-01"'],
  ["DATE", "'9999-12-31'", "9999-12-31"],
  ["DATETIME", "'2024-02-29 23:59:59'", "2024-02-29T23:59:59", '>= "2024-02-29T23:59:59"'],
  ["DATETIME(6)", "'1969-12-31 23:59:59.999999'", "1969-12-31T23:59:59.999999"],
  ["DATETIME(3)", "'9999-12-31 23:59:59'", "9999-12-31T23:59:59"],
  ["TIMESTAMP(3) NULL", "'2024-06-01 12:00:00.120'", "2024-06-01T12:00:00.120Z", '= "2024-06-01T14:00:00.12+02:00"'],
  ["TIME", "'-838:59:59'", "-838:59:59", '< "00:00:00"'],
  ["TIME(4)", "'01:02:03.4567'", "01:02:03.456700"],
];

const POSTGRES: readonly Case[] = [
  ["smallint", "-32768", -32768],
  ["integer", "2147483647", 2147483647, "= 2147483647"],
  ["bigint", "9223372036854775807", "9223372036854775807", "= 9223372036854775807"],
  ["numeric", "12345678901234567890.10", "12345678901234567890.10", "= 12345678901234567890.1"],
  ["numeric(8,3)", "-0.5", "-0.500", "= -0.5"],
  ["real", "3.4028235e38", 3.4028235e38],
  ["double precision", "'NaN'", "NaN"],
  ["boolean", "false", false, "= false"],
  ["text", "E'a\\tb\\n\"c\\\\ 😀'", 'a\tb\n"c\\ 😀', 'LIKE "a%"'],
  ["varchar(5)", "''", ""],
  ["char(4)", "'ab'", "ab  "],
  ["uuid", "'0b4e1c3e-2f6a-4b8e-9a60-0d1d4f6f9a11'", "0b4e1c3e-2f6a-4b8e-9a60-0d1d4f6f9a11"],
  ["jsonb", `'{"a": [1, null]}'`, { a: [1, null] }],
  ["bytea", "'\\x00ff5c'", "AP9c", '= "AP9c"'],
  ["date", "'0044-03-15 BC'", "-000043-03-15"],
  ["date", "'infinity'", "infinity"],
  ["timestamp", "'2024-02-29 23:59:59.5'", "2024-02-29T23:59:59.500", '= "2024-02-29T23:59:59.5"'],
  ["timestamptz", "'2024-06-01 12:00:00+02'", "2024-06-01T10:00:00Z", '= "2024-06-01T10:00:00Z"'],
  ["timestamptz", "'-infinity'", "-infinity"],
  ["time", "'24:00:00'", "24:00:00", '> "23:59:59"'],
  ["interval", "'1 day 02:00'", "P1DT2H"],
  ["inet", "'10.0.0.1/8'", "10.0.0.1/8"],
  ["mood", "'sad'", "sad", '= "sad"'],
  ["positive", "7", 7, "> 6"],
];

describe.each([
  ["mysql", MYSQL],
  ["postgres", POSTGRES],
] as const)("%s", (dialect, cases) => {
  describe.skipIf(!parts[dialect].available)("types", () => {
    let source: TestSource;
    let engine: EngineProcess;

    beforeAll(async () => {
      source = await testSource(dialect);
      if (dialect === "postgres")
        await source.run(
          "CREATE TYPE mood AS ENUM ('sad', 'glad')",
          "CREATE DOMAIN positive AS integer CHECK (VALUE > 0)",
        );
      const columns = cases.map(([declared], i) => `c${i} ${declared}`);
      const odd = dialect === "mysql" ? "odd GEOMETRY" : "odd integer[]";
      await source.run(
        `CREATE TABLE everything (id INTEGER PRIMARY KEY, ${columns.join(", ")}, ${odd})${dialect === "mysql" ? " CHARACTER SET utf8mb4" : ""}`,
      );
      const insert = (id: number) =>
        `INSERT INTO everything (id, ${cases.map((_, i) => `c${i}`).join(", ")}) VALUES (${id}, ${cases.map(([, sql]) => sql).join(", ")})`;
      await source.run(insert(1), "INSERT INTO everything (id) VALUES (3)");
      engine = await EngineProcess.create(source.connection, { instance: "types" });
      engine.start();
      await engine.serving();
      await source.run(insert(2), "INSERT INTO everything (id) VALUES (4)");
      await engine.ask("everything { id }", { "min-position": await source.position() });
    });
    afterAll(async () => {
      await engine?.remove();
      await source?.close();
    });

    test.each(cases.map((each, i) => [i, ...each] as const))("%i: %s %s", async (i, _declared, _sql, json, filter) => {
      const { body } = await engine.ask(`everything { value: c${i} }`);
      expect(body).toEqual([{ value: json }, { value: json }, { value: null }, { value: null }]);
      if (filter !== undefined)
        expect((await engine.ask(`everything(c${i} ${filter}) { id }`)).body).toEqual([{ id: 1 }, { id: 2 }]);
    });

    test("what has no mapping is left out, and told; nothing had to be read twice", () => {
      expect(engine.built.findings).toMatchObject([{ code: "unsupported_type", column: "odd" }]);
      expect(engine.said).not.toContain("is read again");
    });
  });
});
