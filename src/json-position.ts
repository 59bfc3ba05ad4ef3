/** Where a text stops being JSON: 1-based line and column, and what was expected there. The runtime's own messages do not always say. */
export type JsonFault = { line: number; column: number; message: string };

const SPACE = /[ \t\n\r]*/y;
const STRING = /"(?:[ !#-[\]-\uffff]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const SCALAR = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.+-])|(?:true|false|null)(?!\w)/y;

/** The first fault of a text that `JSON.parse` refused. It walks with its own stack, so that no depth of nesting can overflow it. */
export function findJsonFault(text: string): JsonFault {
  const open: ("{" | "[")[] = [];
  let at = 0;
  const skip = (pattern: RegExp): boolean => {
    pattern.lastIndex = at;
    const found = pattern.test(text);
    if (found) at = pattern.lastIndex;
    return found;
  };
  const take = (char: string): boolean => {
    skip(SPACE);
    if (text[at] !== char) return false;
    at++;
    return true;
  };
  const key = (): string | null => {
    skip(SPACE);
    if (!skip(STRING)) return "expected a property name in double quotes";
    return take(":") ? null : 'expected ":"';
  };
  /** Reads up to the end of one value, or into the first value of a list or object. */
  const value = (): string | null => {
    for (;;) {
      skip(SPACE);
      if (take("{")) {
        if (take("}")) return null;
        open.push("{");
        const fault = key();
        if (fault) return fault;
      } else if (take("[")) {
        if (take("]")) return null;
        open.push("[");
      } else return skip(STRING) || skip(SCALAR) ? null : "expected a value";
    }
  };
  for (let fault = value(); ; fault = value()) {
    if (fault) return locate(text, at, fault);
    for (let top = open.at(-1); top && take(top === "{" ? "}" : "]"); top = open.at(-1)) open.pop();
    const top = open.at(-1);
    if (top === undefined) {
      skip(SPACE);
      return locate(text, at, "expected the end of the text");
    }
    if (!take(",")) return locate(text, at, top === "{" ? 'expected "," or "}"' : 'expected "," or "]"');
    const missing = top === "{" ? key() : null;
    if (missing) return locate(text, at, missing);
  }
}

function locate(text: string, at: number, expected: string): JsonFault {
  const before = text.slice(0, at);
  const line = before.split("\n").length;
  const column = at - before.lastIndexOf("\n");
  const found =
    at >= text.length ? "the text ends" : `found ${JSON.stringify(String.fromCodePoint(text.codePointAt(at) ?? 0))}`;
  return { line, column, message: `${expected}, ${found}` };
}
