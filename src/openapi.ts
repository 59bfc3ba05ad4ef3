import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { ROUTES } from "./api/routes.ts";
import { documentOf } from "./openapi-document.ts";
import { problemsMarkdown } from "./problem-page.ts";

// `npm run spec` writes what is made from the code and checked in; a test holds the files to it.
const docs = fileURLToPath(new URL("../docs/", import.meta.url).href);
writeFileSync(`${docs}openapi.json`, `${JSON.stringify(documentOf(ROUTES), null, 2)}\n`);
writeFileSync(`${docs}problems.md`, problemsMarkdown());
