import { z } from "zod";
import { DeploymentId } from "../../contract/id.ts";
import { remote } from "../../objects/remote.ts";
import { jsonText } from "../answer.ts";
import { fail, unwrap } from "../problem.ts";
import { route } from "../route.ts";
import { makeTicket, TICKET_KINDS, TICKET_LIVES_S, type TicketKind } from "../stream-ticket.ts";
import { call } from "../stub.ts";

const StreamTicket = z.object({ ticket: z.string(), expires_in: z.int().describe("Seconds") });

const Body = z.strictObject({
  scope: z
    .string()
    .regex(
      new RegExp(`^deployment:(${TICKET_KINDS.join("|")}):.+$`),
      "expected `deployment:logs:<id>` or `deployment:events:<id>`",
    ),
});

export const STREAM_TICKETS = [
  route({
    method: "POST",
    path: "/auth/stream-ticket",
    access: "deployments:read",
    group: "Users",
    summary: "Make a stream ticket",
    description:
      "For a browser's EventSource, which can send no header: `?ticket=` in the address stands for the token, for 30 s, and only on the one path that the scope names: `GET /deployments/:id/logs` or `GET /deployments/:id/events`. A stream that has begun goes on.",
    body: { schema: Body, example: { scope: "deployment:logs:dep_01k9j5w0n3x7m2c4v8b6z1q5rt" } },
    answers: {
      200: {
        description: "The ticket; it is stored nowhere",
        schema: StreamTicket,
        example: { ticket: "tk_stream_01k9j5w0n3…", expires_in: TICKET_LIVES_S },
      },
    },
    problems: ["not_found"],
    handle: async (ask) => {
      const [, kind, id] = ask.body.scope.split(":") as ["deployment", TicketKind, string];
      if (!DeploymentId.safeParse(id).success)
        fail("not_found", `There is no deployment ${JSON.stringify(id.slice(0, 100))}.`);
      // Only for what the caller may read.
      unwrap(
        await call(
          () => remote(ask.env.DEPLOYMENT, id),
          (deployment) => deployment.read(ask.principal.namespaces),
        ),
      );
      const ticket = await makeTicket(ask.env, kind, id, Date.now());
      return jsonText(JSON.stringify({ ticket, expires_in: TICKET_LIVES_S }), { "cache-control": "no-store" });
    },
  }),
];
