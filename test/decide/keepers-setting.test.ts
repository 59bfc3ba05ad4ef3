import { describe, expect, test } from "vitest";
import { keepersOf } from "../../objects/database/keepers.ts";

const fingerprint = "0123456789abcdef".repeat(4);

describe("KEEPERS", () => {
  test("names keepers with their tokens, and by which certificate they are known", () => {
    expect(keepersOf({})).toEqual([]);
    expect(keepersOf({ KEEPERS: `a=http://:t%2F1@127.0.0.1:1, b=https://:two@10.0.0.1:2#${fingerprint}` })).toEqual([
      { name: "a", url: "http://127.0.0.1:1", token: "t/1" },
      { name: "b", url: "https://10.0.0.1:2", token: "two", fingerprint },
    ]);
  });

  test("that cannot be read are refused, without a word of the token", () => {
    for (const text of [
      "a=http://127.0.0.1:1",
      "A=http://:secret@h:1",
      `a=http://:secret@h:1#${fingerprint}`,
      "a=https://:secret@h:1#abc",
      "a",
    ])
      expect(() => keepersOf({ KEEPERS: text })).toThrow(/^KEEPERS: entry 1(?!.*secret)/);
  });
});
