import { ROUTES } from "./api/routes.ts";
import { documentOf } from "./openapi-document.ts";

// `node src/openapi.ts` prints the document; docs/openapi.json is its output, and a test holds the two together.
console.log(JSON.stringify(documentOf(ROUTES), null, 2));
