import { QUERY_HELP, QUERY_PROBLEMS } from "../contract/engine-query.ts";
import { PROBLEMS } from "../contract/problem.ts";
import { page, text } from "./html.ts";

type Told = { status: number; title: string; help: string };

/** Of queries, which engines answer: in their words. */
const OF_QUERIES: Record<string, Told> = Object.fromEntries(
  Object.entries(QUERY_HELP).map(([code, help]) => {
    const title = code.replaceAll("_", " ").replace(/^./, (letter) => letter.toUpperCase());
    return [code, { status: QUERY_PROBLEMS[code as keyof typeof QUERY_HELP], title, help }];
  }),
);
const ALL: Record<string, Told> = { ...OF_QUERIES, ...PROBLEMS };
export const PROBLEM_PAGES = Object.keys(ALL) as [string, ...string[]];

/** What the `type` of a problem leads to: what it means, and what the caller can do about it. */
export function problemPage(code: string): string {
  const { status, title, help } = ALL[code] as Told;
  const body = `<main class="single"><p class="back"><a href="/docs#problems">Lamplighter API</a></p>
<p class="status">${status}</p><h1>${text(title)}</h1><p><code>${code}</code></p><p class="lead">${inlineCode(help)}</p></main>`;
  return page(`${code} · Lamplighter`, body);
}

const inlineCode = (words: string): string => text(words).replaceAll(/`([^`]+)`/g, "<code>$1</code>");

/** docs/problems.md: all of them. */
export function problemsMarkdown(): string {
  const sections = (of: Record<string, Told>) =>
    Object.entries(of)
      .map(([code, { status, title, help }]) => `## ${code}\n\n**${status}** ${title}.\n\n${help}\n`)
      .join("\n");
  return `# Problems

Every error is answered as \`application/problem+json\` (RFC 9457) with one of these codes in \`code\`. Made from \`contract/problem.ts\` by
\`src/problem-page.ts\`; a test holds the two together.

${sections(PROBLEMS)}
# Problems of queries

What the endpoint of an instance answers a query with, besides those above that it shares: \`contract/engine-query.ts\`. Their \`type\` is \`about:blank\`: an engine does not say where its control plane is.

${sections(OF_QUERIES)}`;
}
