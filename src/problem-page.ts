import { PROBLEMS, type ProblemCode } from "../contract/problem.ts";
import { page, text } from "./html.ts";

/** What the `type` of a problem leads to: what it means, and what the caller can do about it. */
export function problemPage(code: ProblemCode): string {
  const { status, title, help } = PROBLEMS[code];
  const body = `<main class="single"><p class="back"><a href="/docs#problems">Lamplighter API</a></p>
<p class="status">${status}</p><h1>${text(title)}</h1><p><code>${code}</code></p><p class="lead">${inlineCode(help)}</p></main>`;
  return page(`${code} · Lamplighter`, body);
}

const inlineCode = (words: string): string => text(words).replaceAll(/`([^`]+)`/g, "<code>$1</code>");

/** docs/problems.md: all of them. */
export function problemsMarkdown(): string {
  const sections = Object.entries(PROBLEMS).map(
    ([code, { status, title, help }]) => `## ${code}\n\n**${status}** ${title}.\n\n${help}\n`,
  );
  return `# Problems

Every error is answered as \`application/problem+json\` (RFC 9457) with one of these codes in \`code\`. Made from \`contract/problem.ts\` by
\`src/problem-page.ts\`; a test holds the two together.

${sections.join("\n")}`;
}
