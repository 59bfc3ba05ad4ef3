import { expect, test } from "vitest";
import { PIECE, tokens } from "../../query/token.ts";
import { random } from "../random.ts";

/** By the pattern alone; null where nothing begins. */
function byPattern(text: string): string[] | null {
  const found: string[] = [];
  for (let at = 0; at < text.length; at = PIECE.lastIndex) {
    PIECE.lastIndex = at;
    const match = PIECE.exec(text);
    if (match === null) return null;
    const [, space, name, quoted, number, string, symbol] = match;
    if (space !== undefined) continue;
    const kind = (name ?? quoted) ? "name" : number ? "number" : string ? "string" : "symbol";
    try {
      const said =
        string === undefined ? (name ?? quoted ?? number ?? symbol) : (JSON.parse(escaped(string)) as string);
      found.push(`${at} ${kind} ${said === "<>" ? "!=" : said} ${quoted !== undefined}`);
    } catch {
      return null;
    }
  }
  return found;
}

/** Strings may have control characters as they are, unless they have escapes too. */
const escaped = (string: string): string =>
  string.includes("\\") ? string : string.replace(/\p{Cc}/gu, (each) => JSON.stringify(each).slice(1, -1));

function byTokens(text: string): string[] | null {
  try {
    return tokens(text)
      .slice(0, -1)
      .map((each) => `${each.at} ${each.kind} ${each.text} ${each.kind === "name" && each.quoted}`);
  } catch {
    return null;
  }
}

test("what is told by its first character is what the pattern says", () => {
  const pick = random(17);
  const pieces = [
    ...[
      "users",
      "_a1",
      "é",
      "aé",
      "日本",
      "x\u0301",
      "id",
      "and",
      "`a b`",
      "`",
      "0",
      "12",
      "1.5",
      ".5",
      "1.",
      "-3",
      "- 3",
      "1e5",
    ],
    ...[
      "1E",
      "2e+",
      "3e-7",
      "12ab",
      "4é",
      "1...2",
      "...",
      "..",
      "<=",
      "<>",
      "<",
      ">",
      "!=",
      "!",
      "=",
      "*",
      "{",
      "}",
      "(",
      ")",
      ",",
    ],
    ...[
      ":",
      " ",
      "\n",
      "\t\r",
      "\u00a0",
      "\u000b",
      "\u001f",
      '"',
      '""',
      '"a b"',
      '"é🏮"',
      '"\ud800"',
      '"a\\"b"',
      '"\\n"',
      '"\\x"',
    ],
    ...['"a\nb"', "\\", '"tab\there"', "'x'", "\u007f", "\u0000", "🏮", ";"],
  ];
  let read = 0;
  for (let i = 0; i < 30_000; i++) {
    const text = Array.from({ length: 1 + pick.int(7) }, () => pick.pick(pieces)).join(pick.chance(0.5) ? "" : " ");
    const wanted = byPattern(text);
    if (wanted !== null) read++;
    expect(byTokens(text), JSON.stringify(text)).toEqual(wanted);
  }
  expect(read).toBeGreaterThan(1000);
});
