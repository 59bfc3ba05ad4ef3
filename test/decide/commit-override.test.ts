// Which sessions give up that their commits wait for the keepers, as far as the gateway sees it.
import { expect, test } from "vitest";
import { beginsWithOverride, setsOverride } from "../../gateway/commit-override.ts";
import { message, TYPE } from "../../postgres/wire/message.ts";

test.each<[boolean, string[][]]>([
  [true, [["synchronous_commit", "off"]]],
  [true, [["Synchronous_Commit", "LOCAL"]]],
  [true, [["options", "-c geqo=off -csynchronous_commit=local"]]],
  [true, [["options", "--synchronous-commit=off"]]],
  [false, [["options", "-c synchronous_commit=off -c synchronous_commit=on"]]],
  [false, [["synchronous_commit", "on"]]],
  [false, [["synchronous_commit", "remote_write"]]],
  [false, [["application_name", "synchronous_commit=off"]]],
  [false, []],
])("a session's beginning: %s, %j", (expected, settings) => {
  expect(beginsWithOverride(settings as [string, string][])).toBe(expected);
});

test.each<[boolean, string]>([
  [true, "SET synchronous_commit = off"],
  [true, "set local synchronous_commit to 'local'; INSERT INTO t VALUES (1)"],
  [true, '  \n SET SESSION "synchronous_commit"=0'],
  [true, "SET synchronous_commit TO false"],
  [false, "SET synchronous_commit = on"],
  [false, "SET synchronous_commit TO DEFAULT"],
  [false, "SET search_path TO synchronous_commit, off"],
  [false, "SELECT 'SET synchronous_commit = off'"],
  [false, "SET"],
  [false, ""],
])("a statement: %s, %s", (expected, sql) => {
  expect(setsOverride(message(TYPE.query, `${sql}\0`))).toBe(expected);
  expect(setsOverride(message(TYPE.parse, "\0", `${sql}\0`, Buffer.alloc(2)))).toBe(expected);
  expect(setsOverride(message(TYPE.parse, "s1\0", `${sql}\0`, Buffer.alloc(2)))).toBe(expected);
});

test("no chunk, however it is cut, is read beyond its end", () => {
  const whole = message(TYPE.parse, "name\0", "  SET synchronous_commit = off\0");
  for (let end = 0; end <= whole.length; end++) setsOverride(whole.subarray(0, end));
  expect(setsOverride(message(0x42, "SET synchronous_commit = off"))).toBe(false);
  expect(setsOverride(Buffer.from([TYPE.parse, 0, 0, 0, 9, 115, 101]))).toBe(false);
});
