import { z } from "zod";
import { GATEWAY_PATHS, Lookup, LookupQuestion } from "../../contract/gateway.ts";
import { DatabaseId } from "../../contract/id.ts";
import { LOOKUP_FRESH_MS, LOOKUP_STALE_MS } from "../../objects/database/lookup.ts";
import { remote } from "../../objects/remote.ts";
import { jsonText } from "../answer.ts";
import { databaseOfRole, gatewayAddress, scramFor } from "../database-password.ts";
import { isMarked } from "../mint.ts";
import { fail, unwrap } from "../problem.ts";
import { route } from "../route.ts";
import { serverNamesOf } from "../server-names.ts";
import { call } from "../stub.ts";

/** What gateways ask of the control plane: contract/gateway.ts. */
export const GATEWAY_LINK = [
  route({
    method: "GET",
    path: "/gateway",
    access: "databases:read",
    group: "Gateways",
    summary: "Where databases are connected to",
    answers: {
      200: {
        description: "What the operator has set as `GATEWAY_ADDRESS`, `host:port`; null when nothing is",
        schema: z.object({ address: z.string().nullable() }),
        example: { address: "db.example.com:5432" },
      },
    },
    handle: (ask) => jsonText(JSON.stringify({ address: gatewayAddress(ask.env) })),
  }),
  route({
    method: "POST",
    path: GATEWAY_PATHS.lookup,
    access: "databases:connect",
    group: "Gateways",
    summary: "Look up a role and a database",
    description:
      "What a gateway needs to check a password, and to tell which database is meant. A role that does not exist is answered alike, without verifiers. Nothing is woken by it.",
    body: { schema: LookupQuestion, example: { role: "u_01k9j5w0n3x7m2c4v8b6z1q5rt", database: "shop" } },
    answers: { 200: { description: "What is known", schema: Lookup } },
    handle: async (ask) => {
      const { role, database } = ask.body;
      const id = databaseOfRole(role);
      const known =
        id !== null && (await isMarked(ask.env, id))
          ? await call(
              () => remote(ask.env.DATABASE, id),
              (object) => object.lookup(database, ask.principal.namespaces),
            )
          : null;
      const none = async (): Promise<Lookup> => ({
        ...(await scramFor(ask.env, role)),
        verifiers: [],
        database: null,
        fresh_ms: LOOKUP_FRESH_MS,
        stale_ms: LOOKUP_STALE_MS,
      });
      const lookup = known ?? (await none());
      if (lookup.database !== null)
        lookup.database.server_names = serverNamesOf(ask.env as { GATEWAY_SERVER_NAMES?: string });
      return jsonText(JSON.stringify(lookup), { "cache-control": "no-store" });
    },
  }),
  route({
    method: "GET",
    path: "/gateway/databases/:id/lease",
    access: "databases:connect",
    group: "Gateways",
    summary: "Open the line about one database",
    description:
      "A WebSocket between one run of a gateway and one database, open while the gateway has use for it. What is said over it is in `contract/gateway.ts`.",
    params: { id: DatabaseId },
    query: z.object({ boot_id: z.string().regex(/^[\w-]{1,64}$/, "expected 1 to 64 letters, digits, `_` or `-`") }),
    answers: { 101: { description: "The line is open" } },
    problems: ["not_found", "malformed_query"],
    handle: async (ask) => {
      const id = ask.params.id as string;
      if (!(await isMarked(ask.env, id))) fail("not_found", `There is no database ${id}.`);
      if (ask.request.headers.get("upgrade")?.toLowerCase() !== "websocket")
        fail("malformed_query", "This address is for a WebSocket upgrade.");
      const { namespaces } = ask.principal;
      if (namespaces.length > 0)
        unwrap(
          await call(
            () => remote(ask.env.DATABASE, id),
            (object) => object.read(namespaces),
          ),
        );
      return ask.env.DATABASE.getByName(id).fetch(ask.request);
    },
  }),
];
