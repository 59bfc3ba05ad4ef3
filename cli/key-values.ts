import { Failure } from "./failure.ts";

/** `["a=1", "b=2"]` as `{a: "1", b: "2"}`. */
export function keyValues(texts: readonly string[], flag: string): Record<string, string> {
  return Object.fromEntries(
    texts.map((text) => {
      const at = text.indexOf("=");
      if (at < 1) throw new Failure(`${flag} '${text}': expected key=value`);
      return [text.slice(0, at), text.slice(at + 1)];
    }),
  );
}

/** `{a: "1", b: "2"}` as `["a=1", "b=2"]`. */
export const pairs = (record: Record<string, string>): string[] =>
  Object.entries(record).map(([key, value]) => `${key}=${value}`);
