import { describe, expect, test } from "vitest";
import { type KeeperSettings, keepersOf, keepingOf } from "../../objects/database/keepers.ts";

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
      "a=http://:secret%zz@h:1",
    ])
      expect(() => keepersOf({ KEEPERS: text })).toThrow(/^KEEPERS: entry 1(?!.*secret)/);
  });
});

describe("what a database is to have of them", () => {
  const three = { KEEPERS: "a=http://:t@h:1,b=http://:t@h:2,c=http://:t@h:3" };

  test.each([
    [{}, [], 0],
    [{ KEEPERS: " ", KEEPER_QUORUM: "" }, [], 0],
    [three, ["a", "b", "c"], 2],
    [{ ...three, KEEPER_QUORUM: " 3 " }, ["a", "b", "c"], 3],
    [{ ...three, KEEPER_QUORUM: "1" }, ["a", "b", "c"], 1],
  ])("%j: %j, of which %i acknowledge", (settings, keepers, quorum) => {
    expect(keepingOf(settings)).toEqual({ ok: true, value: { keepers, quorum } });
  });

  test.each<[KeeperSettings, RegExp]>([
    [{ KEEPERS: "a=http://:secret@h:1,a=http://:secret@h:2" }, /^KEEPERS: the name a is there twice\.$/],
    [{ KEEPERS: "a=http://:secret@h:1,b=http://:other@h:1/" }, /^KEEPERS: the address of b is there twice\.$/],
    [{ KEEPERS: "a=http://:secret@h:1," }, /^KEEPERS: entry 2 is not of the form/],
    [{ KEEPER_QUORUM: "1" }, /^KEEPER_QUORUM is set, and KEEPERS names no keeper\.$/],
    ...["two", "0", "4", "-1", "1.5", "2 of 3"].map((KEEPER_QUORUM): [KeeperSettings, RegExp] => [
      { ...three, KEEPER_QUORUM },
      /^KEEPER_QUORUM: expected a whole number from 1 to 3/,
    ]),
  ])("%j is refused with a reason", (settings, detail) => {
    const reply = keepingOf(settings);
    expect(reply).toMatchObject({
      ok: false,
      refusal: { code: "keepers_misconfigured", detail: expect.stringMatching(detail) },
    });
    expect(JSON.stringify(reply)).not.toContain("secret");
  });
});
