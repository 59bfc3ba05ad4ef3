import { expect, test } from "vitest";
import { QUERY_LIMITS } from "../../contract/engine-query.ts";
import { AnswerBytes, writeNumber, writeText } from "../../engine/query/answer-bytes.ts";
import { isPlain } from "../../engine/store/render.ts";

const written = (write: (bytes: Buffer, at: number) => number): string => {
  const bytes = Buffer.alloc(200, "#");
  return bytes.toString("utf8", 3, write(bytes, 3));
};

test("a number is written as JavaScript prints it", () => {
  const powers = Array.from({ length: 11 }, (_, i) => 10 ** i).flatMap((power) => [power - 1, power, power + 1]);
  const edges = [0, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 53, 0.1, 1e21, 5e-324, 1.7976931348623157e308];
  for (const value of [...powers, ...edges, ...powers.map((each) => each * 3.7)])
    for (const each of [value, -value])
      expect(written((bytes, at) => writeNumber(bytes, at, each))).toBe(each === 0 ? "0" : String(each));
});

test("a text is written as JSON has it, whatever is in it", () => {
  const texts = [
    "",
    "plain",
    'a "quote"',
    "back\\slash",
    "\u0000\n\u001f\u007f",
    "é",
    "日本語",
    "🏮",
    "\ud800 alone",
    "x\udfff",
  ];
  for (const text of [...texts, ...texts.map((each) => each.repeat(3))]) {
    const json = JSON.stringify(text);
    expect(`"${written((bytes, at) => writeText(bytes, at, text))}"`).toBe(json);
    if (isPlain(text)) expect(Buffer.from(json, "utf8")).toEqual(Buffer.from(`"${text}"`, "latin1"));
  }
  expect(texts.filter(isPlain)).toEqual(["", "plain"]);
});

/** As generated code does it. */
function write(answer: AnswerBytes, text: string): void {
  const bytes = answer.room(text.length);
  answer.at += bytes.write(text, answer.at, "latin1");
}

test("answers do not write over one another, however long they are", () => {
  const answer = new AnswerBytes();
  const texts = Array.from({ length: 60 }, (_, i) =>
    String.fromCharCode(65 + i).repeat(i % 7 === 6 ? 700_000 : i * 1001),
  );
  const answers = texts.map((text) => {
    answer.begin();
    for (let at = 0; at < text.length; at += 999) write(answer, text.slice(at, at + 999));
    return answer.take();
  });
  expect(answers.every((each, i) => each.equals(Buffer.from(texts[i] as string, "latin1")))).toBe(true);
});

test("what is sent is written over, once all before it is sent too", () => {
  const answer = new AnswerBytes();
  const next = (text: string): Buffer => {
    write(answer.begin(), text);
    return answer.take();
  };
  const [first, second] = [next("first"), next("second")];
  answer.sent(second);
  const third = next("third");
  expect([first, third].map(String)).toEqual(["first", "third"]);
  answer.sent(first);
  answer.sent(third);
  expect(next("fourth").byteOffset).toBe(first.byteOffset);
  // Of a piece that is no longer written to nothing is known any more: not that of another answer is sent, either.
  const long = next("x".repeat(500_000));
  answer.sent(long);
  const after = next("after");
  expect(after.buffer).not.toBe(long.buffer);
  answer.sent(long);
  expect(next("and").byteOffset).toBe(after.byteOffset + after.length);
  expect(String(after)).toBe("after");
});

test("what a failed query has left is in no later answer", () => {
  const answer = new AnswerBytes();
  write(answer.begin(), "first");
  const first = answer.take();
  write(answer.begin(), "half of an answer");
  write(answer.begin(), "second");
  expect([first, answer.take()].map(String)).toEqual(["first", "second"]);
});

test("an answer that is too long is refused by name", () => {
  const answer = new AnswerBytes().begin();
  const text = "x".repeat(2 ** 20);
  expect(() => {
    for (let i = 0; i * text.length <= 2 * QUERY_LIMITS.answerBytes; i++) write(answer, text);
  }).toThrow(expect.objectContaining({ code: "answer_too_long" }));
  write(answer.begin(), "and goes on");
  expect(String(answer.take())).toBe("and goes on");
});
