import { z } from "zod";
import { ConnectionId, InstanceId } from "../../contract/id.ts";
import { Report, ReportAnswer } from "../../contract/instance-report.ts";
import { remote } from "../../objects/remote.ts";
import { sameHash } from "../../objects/token/secret.ts";
import { workloadProof } from "../../objects/workload-proof.ts";
import { jsonText } from "../answer.ts";
import { fail, unwrap } from "../problem.ts";
import { type Ask, route } from "../route.ts";
import { call } from "../stub.ts";

/** A report is believed when it shows what only this generation of this workload was given. */
async function proven<Q, B>(ask: Ask<Q, B>, { workload_id, generation }: Of): Promise<void> {
  const [, shown = ""] = /^Bearer (lampw_[\w-]{32})$/.exec(ask.request.headers.get("authorization") ?? "") ?? [];
  const isOwn = workload_id.startsWith(`${ask.params.id}-`);
  if (!isOwn || !sameHash(shown, await workloadProof(ask.env, workload_id, generation)))
    fail("unauthenticated", "This is not the token of that workload.");
}

type Of = { workload_id: string; generation: number };

const shared = {
  method: "POST",
  access: "open",
  group: "Reports",
  description:
    "For the programs of an instance, with the token that each workload was given. The answer says what an engine should be.",
  body: {
    schema: Report,
    example: {
      workload_id: "inst_01k9j5w0n3x7m2c4v8b6z1q5rt-2",
      generation: 4,
      operation: { id: "op_01k9j5w0n3x7m2c4v8b6z1q5rt", revision: 1 },
      body: { kind: "loaded", rows: 1200, tables: 3 },
    },
  },
  answers: { 200: { description: "Heard", schema: ReportAnswer } },
  problems: ["unauthenticated", "stale_report", "not_found"],
} as const;

export const WORKLOAD_REPORTS = [
  route({
    ...shared,
    path: "/instances/:id/reports",
    summary: "Report of an instance's program",
    params: { id: InstanceId },
    handle: async (ask) => {
      await proven(ask, ask.body);
      const reply = await call(
        () => remote(ask.env.INSTANCE, ask.params.id as string),
        (instance) => instance.report(ask.body),
      );
      return jsonText(unwrap(reply));
    },
  }),
  route({
    ...shared,
    path: "/connections/:id/reports",
    summary: "Report of a connection's test",
    params: { id: ConnectionId },
    handle: async (ask) => {
      await proven(ask, ask.body);
      const reply = await call(
        () => remote(ask.env.CONNECTION, ask.params.id as string),
        (connection) => connection.report(ask.body),
      );
      return jsonText(unwrap(reply));
    },
  }),
  route({
    method: "GET",
    path: "/instances/:id/artifacts/:hash",
    access: "open",
    group: "Reports",
    summary: "Text of an artifact",
    description: "For hosts that are to run it and do not have it, with the token of the workload.",
    params: { id: InstanceId, hash: z.string().regex(/^[0-9a-f]{64}$/) },
    query: z.object({ workload_id: z.string().max(100), generation: z.coerce.number().int().positive() }),
    answers: { 200: { description: "The program", media: ["text/javascript"], schema: z.string() } },
    problems: ["unauthenticated", "not_found"],
    handle: async (ask) => {
      await proven(ask, ask.query);
      const hash = ask.params.hash as string;
      const reply = await call(
        () => remote(ask.env.INSTANCE, ask.params.id as string),
        (instance) => instance.artifact(hash),
      );
      return new Response(unwrap(reply), {
        headers: { "content-type": "text/javascript", "cache-control": "no-store" },
      });
    },
  }),
];
