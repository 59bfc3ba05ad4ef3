import { Principal } from "../../contract/scope.ts";
import { jsonText } from "../answer.ts";
import { route } from "../route.ts";

export const WHOAMI = [
  route({
    method: "GET",
    path: "/whoami",
    access: "any",
    group: "Tokens",
    summary: "What your token says",
    answers: {
      200: {
        description: "An empty list of namespaces means all",
        schema: Principal,
        example: {
          token_id: "tok_01k9j4x2y8n6r4t0v3w7z5a1b9",
          name: "ci",
          scopes: ["deployments:read"],
          namespaces: ["shop"],
        },
      },
    },
    handle: (ask) => jsonText(JSON.stringify(ask.principal)),
  }),
];
