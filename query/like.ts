const ANY = "%";
const ONE = "_";

/** A pattern of LIKE: `%` is any text, `_` one character, a backslash takes the next as it is. Never slower than text times pattern. */
export class LikePattern {
  readonly text: string;
  readonly insensitive: boolean;
  /** Characters; wildcards are null (any) and undefined (one). */
  readonly #parts: (string | null | undefined)[] = [];
  readonly #simple: ((value: string) => boolean) | null;

  constructor(text: string, insensitive: boolean) {
    this.text = text;
    this.insensitive = insensitive;
    const characters = [...(insensitive ? text.toLowerCase() : text)];
    for (let i = 0; i < characters.length; i++) {
      const character = characters[i] as string;
      if (character === "\\" && i + 1 < characters.length) this.#parts.push(characters[++i]);
      else this.#parts.push(character === ANY ? null : character === ONE ? undefined : character);
    }
    this.#simple = simple(this.#parts);
  }

  matches(value: string): boolean {
    const subject = this.insensitive ? value.toLowerCase() : value;
    return this.#simple === null ? this.#matches(subject) : this.#simple(subject);
  }

  /** After a mismatch only the last `%` takes one more character: an earlier one has nothing to gain. */
  #matches(subject: string): boolean {
    const parts = this.#parts;
    let at = 0;
    let part = 0;
    let lastAny = -1;
    let retry = 0;
    while (at < subject.length) {
      const wanted = parts[part];
      if (part < parts.length && wanted === null) {
        lastAny = part++;
        retry = at;
      } else if (part < parts.length && (wanted === undefined || subject.startsWith(wanted as string, at))) {
        at += typeof wanted === "string" ? wanted.length : width(subject, at);
        part++;
      } else if (lastAny >= 0) {
        retry += width(subject, retry);
        at = retry;
        part = lastAny + 1;
      } else return false;
    }
    while (parts[part] === null && part < parts.length) part++;
    return part === parts.length;
  }
}

const width = (text: string, at: number): number => ((text.codePointAt(at) as number) > 0xffff ? 2 : 1);

function simple(parts: readonly (string | null | undefined)[]): ((value: string) => boolean) | null {
  const [first, last] = [parts[0], parts.at(-1)];
  const inner = parts.slice(first === null ? 1 : 0, last === null && parts.length > 1 ? -1 : undefined);
  if (parts.length === 0) return (value) => value === "";
  if (inner.some((part) => typeof part !== "string")) return null;
  const text = inner.join("");
  if (first === null && (last === null || parts.length === 1)) return (value) => value.includes(text);
  if (first === null) return (value) => value.endsWith(text);
  return last === null ? (value) => value.startsWith(text) : (value) => value === text;
}
