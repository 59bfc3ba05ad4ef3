import { z } from "zod";
import { jsonText } from "../answer.ts";
import { docsPage, SCRIPT } from "../docs-page.ts";
import { documentOf } from "../openapi-document.ts";
import { PROBLEM_PAGES, problemPage } from "../problem-page.ts";
import { type Route, route } from "../route.ts";

/** Made when first asked for, and kept by the isolate. */
type Made = { json: string; html: string };

/** The documentation of these routes, itself among them. */
export function documentation(routes: () => readonly Route[]): Route[] {
  let made: Made | undefined;
  const make = (): Made => {
    if (made) return made;
    const document = documentOf(routes());
    made = { json: JSON.stringify(document), html: docsPage(document) };
    return made;
  };
  return [
    route({
      method: "GET",
      path: "/openapi.json",
      access: "open",
      group: "System",
      summary: "This API as an OpenAPI 3.1 document",
      answers: { 200: { description: "The document", media: ["application/json"] } },
      handle: () => jsonText(make().json, { "cache-control": "public, max-age=60" }),
    }),
    route({
      method: "GET",
      path: "/docs",
      access: "open",
      group: "System",
      summary: "This API as a page to read",
      answers: { 200: { description: "The page", media: ["text/html"] } },
      handle: async () => htmlAnswer(make().html, await hashOf(SCRIPT)),
    }),
    route({
      method: "GET",
      path: "/problems/:code",
      access: "open",
      group: "System",
      summary: "What a problem's code means",
      params: { code: z.enum(PROBLEM_PAGES) },
      answers: { 200: { description: "The page", media: ["text/html"] } },
      handle: (ask) => htmlAnswer(problemPage(ask.params.code as string), null),
    }),
  ];
}

/** The pages load nothing and run nothing but their own script. */
function htmlAnswer(html: string, scriptHash: string | null): Response {
  const script = scriptHash === null ? "" : ` script-src 'sha256-${scriptHash}';`;
  return new Response(html, {
    headers: {
      "content-type": "text/html; charset=utf-8",
      "cache-control": "public, max-age=60",
      "content-security-policy": `default-src 'none'; style-src 'unsafe-inline';${script} base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer",
    },
  });
}

async function hashOf(script: string): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(script)));
  return btoa(String.fromCharCode(...digest));
}
