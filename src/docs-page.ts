import { PROBLEMS } from "../contract/problem.ts";
import { page, text } from "./html.ts";
import type { Document, Operation } from "./openapi-document.ts";
import { schemaRows, typeOf } from "./schema-table.ts";

type Json = Record<string, unknown>;
type Entry = { method: string; path: string; operation: Operation; anchor: string };

/** The readable page of an OpenAPI document: grouped by noun, with a search box, a curl line for each route, and every schema. */
export function docsPage(document: Document): string {
  const entries = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(
      ([method, operation]): Entry => ({ method, path, operation, anchor: operation.operationId }),
    ),
  );
  const groups = document.tags.map(({ name }) => ({
    name,
    entries: entries.filter(({ operation }) => operation.tags[0] === name),
  }));
  const body = `<div class="layout">
<nav aria-label="Routes">
<h1>Lamplighter API</h1>
<input id="search" type="search" placeholder="Search routes, fields, scopes" aria-label="Search" autocomplete="off" spellcheck="false">
<p class="none" id="none" hidden>Nothing fits.</p>
${groups.map(menu).join("")}
<h2>Reference</h2><ul><li><a href="#schemas">Schemas</a></li><li><a href="#problems">Problems</a></li><li><a href="/openapi.json">openapi.json</a></li></ul>
</nav>
<main>
<header><h1>Lamplighter API</h1>${paragraphs(String(document.info.description))}</header>
${groups.map((group) => `<section><h2 class="group">${text(group.name)}</h2>${group.entries.map((entry) => article(entry, document)).join("")}</section>`).join("")}
<section><h2 class="group" id="schemas">Schemas</h2>${Object.entries(document.components.schemas)
    .map(([name, schema]) => `<article id="schema-${name}"><h3>${name}</h3>${table(schema, document)}</article>`)
    .join("")}</section>
<section><h2 class="group" id="problems">Problems</h2><article><div class="scroll"><table><tr><th>Code</th><th>Status</th><th>What to do</th></tr>${Object.entries(
    PROBLEMS,
  )
    .map(
      ([code, { status, help }]) =>
        `<tr><td><a class="name" href="/problems/${code}">${code}</a></td><td>${status}</td><td>${marked(help)}</td></tr>`,
    )
    .join("")}</table></div></article></section>
</main>
</div>`;
  return page("Lamplighter API", body, SCRIPT);
}

const menu = ({ name, entries }: { name: string; entries: Entry[] }): string =>
  `<div class="menu"><h2>${text(name)}</h2><ul>${entries
    .map(
      ({ method, anchor, operation }) =>
        `<li><a href="#${anchor}"><span class="method ${method}">${method.toUpperCase()}</span><span>${text(operation.summary)}</span></a></li>`,
    )
    .join("")}</ul></div>`;

function article({ method, path, operation, anchor }: Entry, document: Document): string {
  const { parameters = [], requestBody, responses } = operation;
  const answers = Object.entries(responses).filter(([status]) => Number(status) < 400);
  const problems = Object.entries(responses).filter(([status]) => Number(status) >= 400);
  const sent = requestBody?.content["application/json"];
  return `<article class="route" id="${anchor}">
<h3>${text(operation.summary)}</h3>
<p class="line"><span class="method ${method}">${method.toUpperCase()}</span><span class="path">${text(path)}</span><span class="scope">${SCOPE[operation["x-scope"]] ?? `needs ${text(operation["x-scope"])}`}</span></p>
${operation.description ? `<p class="about">${marked(operation.description)}</p>` : ""}
<pre><code>${text(curl(method, path, operation))}</code></pre>
${parameters.length > 0 ? `<h4>Parameters</h4><div class="scroll"><table><tr><th>Name</th><th>Where and type</th><th></th></tr>${parameters.map((p) => parameterRow(p)).join("")}</table></div>` : ""}
${sent ? `<h4>Body</h4>${table(sent.schema, document)}` : ""}
<h4>Answers</h4>
${answers.map(([status, response]) => answer(status, response, document)).join("")}
${problems.length > 0 ? problemList(problems.map(([, response]) => response)) : ""}
</article>`;
}

const SCOPE: Record<string, string> = {
  open: "open to everyone",
  any: "needs any valid token",
  signed: "signed by the host's agent",
};

const parameterRow = ({
  name,
  in: where,
  required,
  description,
  schema,
}: NonNullable<Operation["parameters"]>[number]): string =>
  `<tr><td><span class="name">${text(name)}</span>${required ? '<span class="required">required</span>' : ""}</td><td class="type">${where}, ${typeOf(schema)}</td><td>${marked(description ?? "")}</td></tr>`;

function answer(status: string, response: Json, document: Document): string {
  const content = (response.content ?? {}) as Record<string, { schema?: Json; example?: unknown }>;
  const { schema, example } = content["application/json"] ?? {};
  const media = Object.keys(content).filter(
    (type) => type !== "application/json" && type !== "application/problem+json",
  );
  const summary = `${marked(String(response.description))}${media.length > 0 ? ` <span class="scope">${media.join(", ")}</span>` : ""}`;
  const headers = Object.entries((response.headers ?? {}) as Record<string, { description: string }>);
  const parts = [
    headers.length > 0
      ? `<p>${headers.map(([name, { description }]) => `<code>${name}</code> ${marked(description)}`).join("<br>")}</p>`
      : "",
    schema ? table(schema, document) : "",
    example === undefined ? "" : `<h4>Example</h4><pre><code>${text(JSON.stringify(example, null, 2))}</code></pre>`,
  ].join("");
  const head = `<span class="code">${status}</span>${summary}`;
  return parts === ""
    ? `<p class="plain ok">${head}</p>`
    : `<details class="ok"><summary>${head}</summary>${parts}</details>`;
}

/** The problems of a route in one line; opened, each with what to do about it. */
function problemList(responses: readonly Json[]): string {
  const codes = responses.flatMap((response) => response["x-codes"] as (keyof typeof PROBLEMS)[]);
  const statuses = [...new Set(codes.map((code) => PROBLEMS[code].status))].join(" ");
  const rows = codes.map(
    (code) =>
      `<tr><td><span class="code">${PROBLEMS[code].status}</span> <a class="name" href="/problems/${code}">${code}</a></td><td>${marked(PROBLEMS[code].help)}</td></tr>`,
  );
  return `<details class="bad"><summary><span class="code">${statuses}</span>Problems</summary><div class="scroll"><table>${rows.join("")}</table></div></details>`;
}

function table(schema: Json, document: Document): string {
  const rows = schemaRows(opened(schema, document), document.components.schemas);
  if (rows.length === 0) return `<p>${typeOf(schema)}</p>`;
  const head =
    schema.type === "array" || schema.$ref !== undefined || schema.anyOf !== undefined
      ? `<p>${typeOf(schema)}</p>`
      : "";
  return `${head}<div class="scroll"><table><tr><th>Field</th><th>Type</th><th></th></tr>${rows
    .map(
      ({ name, required, type, description }) =>
        `<tr><td><span class="name">${text(name)}</span>${required ? '<span class="required">required</span>' : ""}</td><td class="type">${type}</td><td>${marked(description)}</td></tr>`,
    )
    .join("")}</table></div>`;
}

/** A named schema, or the items of a list of one, as it is. */
function opened(schema: Json, document: Document): Json {
  const { $ref, type, items } = schema as { $ref?: string; type?: string; items?: Json };
  if ($ref !== undefined) return document.components.schemas[$ref.split("/").at(-1) ?? ""] ?? schema;
  return type === "array" && items ? opened(items, document) : schema;
}

/** A line that can be pasted. */
function curl(method: string, path: string, { security, requestBody, parameters = [] }: Operation): string {
  const url = `$LAMPLIGHTER_URL${path.replaceAll(/\{(\w+)\}/g, (_, name: string) => `$${name.toUpperCase()}`)}`;
  const needed = parameters
    .filter(({ in: where, required }) => where === "query" && required)
    .map(({ name }) => `${name}=…`);
  const lines = [
    `curl ${method === "get" ? "" : `-X ${method.toUpperCase()} `}"${url}${needed.length > 0 ? `?${needed.join("&")}` : ""}"`,
  ];
  if (security.length > 0) lines.push('-H "Authorization: Bearer $LAMPLIGHTER_TOKEN"');
  const example = requestBody?.content["application/json"]?.example;
  if (example !== undefined)
    lines.push(
      '-H "Content-Type: application/json"',
      `-d '${JSON.stringify(example, null, 2).replaceAll("\n", "\n  ").replaceAll("'", "'\\''")}'`,
    );
  return lines.join(" \\\n  ");
}

const paragraphs = (words: string): string =>
  words
    .split("\n\n")
    .map((part) => `<p>${marked(part)}</p>`)
    .join("");

const marked = (words: string): string => text(words).replaceAll(/`([^`]+)`/g, "<code>$1</code>");

/** Search over everything that a route's article says; `/` goes to the box. Text only: nothing of it is ever taken for HTML. */
export const SCRIPT = `
const box = document.getElementById("search");
const wordsOf = (article) => {
  const copy = article.cloneNode(true);
  for (const example of copy.querySelectorAll("details pre")) example.remove();
  return copy.textContent.toLowerCase();
};
const routes = [...document.querySelectorAll("article.route")].map((article) => ({ article, link: document.querySelector('nav a[href="#' + article.id + '"]'), words: wordsOf(article) }));
const show = () => {
  const wanted = box.value.toLowerCase().split(/\\s+/).filter(Boolean);
  let found = 0;
  for (const { article, link, words } of routes) {
    const fits = wanted.every((word) => words.includes(word));
    article.hidden = link.parentElement.hidden = !fits;
    if (fits) found++;
  }
  for (const part of document.querySelectorAll("main section")) part.hidden = wanted.length > 0 && !part.querySelector("article.route:not([hidden])");
  for (const part of document.querySelectorAll("nav .menu")) part.hidden = !part.querySelector("li:not([hidden])");
  document.querySelector("main > header").hidden = wanted.length > 0;
  document.getElementById("none").hidden = found > 0;
  if (wanted.length > 0) scrollTo(0, 0);
};
box.addEventListener("input", show);
addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== box) { event.preventDefault(); box.focus(); }
  if (event.key === "Escape" && document.activeElement === box) { box.value = ""; show(); box.blur(); }
});
const seen = new IntersectionObserver((changes) => {
  for (const { target, isIntersecting } of changes) {
    const link = document.querySelector('nav a[href="#' + target.id + '"]');
    if (link) link.classList.toggle("here", isIntersecting);
  }
}, { rootMargin: "-10% 0px -70% 0px" });
for (const { article } of routes) seen.observe(article);
`;
