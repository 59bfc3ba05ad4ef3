// What may be said of a database: what no client could match, or would become something else, is refused.
import { describe, expect, test } from "vitest";
import { settingsOf } from "../../cli/database/create.ts";
import { objectsOf } from "../../cli/database/query.ts";
import { DatabasePatch } from "../../contract/database.ts";
import { parseDuration } from "../../contract/quantity.ts";
import { isAllowed } from "../../gateway/authenticate.ts";
import { serverNamesOf } from "../../src/server-names.ts";

const blocks = (...allowed_addresses: string[]) => DatabasePatch.safeParse({ allowed_addresses });

describe("allowed addresses", () => {
  test.each([
    ["10.0.0.0/8", "10.9.8.7"],
    ["203.0.113.7/32", "203.0.113.7"],
    ["0.0.0.0/0", "::ffff:1.2.3.4"],
    ["2001:db8::/32", "2001:db8::1"],
    ["::/0", "2001:db8::1"],
  ])("%s is taken, and matches %s", (block, client) => {
    expect([blocks(block).success, isAllowed(client, [block])]).toEqual([true, true]);
  });

  test.each([
    "300.1.1.1/40",
    "300.1.1.1/8",
    "10.0.0.0/99",
    "10.0.0.0/33",
    "10.0.0/8",
    "10.0.0.0",
    "010.0.0.0/8",
    "2001:db8::/129",
    "2001::db8::/32",
    ":/8",
    "::ffff:10.0.0.0/104",
    "",
  ])("%s is refused", (block) => {
    expect(blocks(block).error?.issues[0]).toMatchObject({ path: ["allowed_addresses", 0] });
  });
});

describe("durations", () => {
  test.each([
    ["0", 0],
    ["90s", 90],
    ["1.5m", 90],
    ["5000ms", 5],
  ])("--idle-timeout %s is %i s", (text, seconds) => {
    expect(settingsOf({ idleTimeout: text })).toEqual({ idle_timeout: seconds });
  });

  test.each(["400ms", "0s", "0ms", "1.5s", "4999ms", "5", "soon"])("--idle-timeout %s is refused", (text) => {
    expect(() => settingsOf({ idleTimeout: text })).toThrow(`--idle-timeout '${text}': expected`);
  });

  test("what is no whole number of milliseconds is no duration", () => {
    expect(["0.4ms", "1.0005s", "1.1s", "0.1d", "8.1h", "365d"].map(parseDuration)).toEqual([
      ...[null, null, 1100, 8_640_000, 29_160_000, 31_536_000_000],
    ]);
  });
});

test("server names are a list of the operator's, and none is any", () => {
  expect(serverNamesOf({})).toEqual([]);
  expect(serverNamesOf({ GATEWAY_SERVER_NAMES: " DB.example.com., *.db.example.com,, ?" })).toEqual([
    ...["db.example.com", "*.db.example.com", "?"],
  ]);
});

test("columns of the same name are all there in JSON", () => {
  const fields = ["id", "id", "id_2", "n"].map((name) => ({ name }));
  const answer = { fields, rows: [[1, 2, 3, null]] } as unknown as Parameters<typeof objectsOf>[0];
  expect(objectsOf(answer)).toEqual([{ id: 1, id_2: 2, id_2_2: 3, n: null }]);
});

test("labels and allowed addresses are cleared by --no-label and --no-allow", () => {
  expect(settingsOf({ label: false, allow: false })).toEqual({ labels: {}, allowed_addresses: [] });
  expect(settingsOf({})).toEqual({});
});
