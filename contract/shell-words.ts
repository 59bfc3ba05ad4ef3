/**
 * Splits a command as a POSIX shell splits words: blanks separate, `'…'` is taken as it is, `"…"` knows the escapes `\" \\ \$` and `` \` ``, and a
 * backslash elsewhere takes the next character as it is. Nothing is expanded. Null when a quote is not closed or a backslash ends the text.
 */
export function shellWords(text: string): string[] | null {
  const words: string[] = [];
  let word: string | null = null;
  for (let i = 0; i < text.length; i++) {
    const char = text[i] as string;
    if (/\s/.test(char)) {
      if (word !== null) words.push(word);
      word = null;
    } else if (char === "'") {
      const end = text.indexOf("'", i + 1);
      if (end < 0) return null;
      word = (word ?? "") + text.slice(i + 1, end);
      i = end;
    } else if (char === '"') {
      word ??= "";
      for (i++; text[i] !== '"'; i++) {
        if (i >= text.length) return null;
        if (text[i] === "\\" && '"\\$`'.includes(text[i + 1] ?? " ")) i++;
        word += text[i];
      }
    } else if (char === "\\") {
      if (i + 1 >= text.length) return null;
      i++;
      word = (word ?? "") + text[i];
    } else word = (word ?? "") + char;
  }
  if (word !== null) words.push(word);
  return words;
}
