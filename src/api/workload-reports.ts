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
async function proven(ask: Ask<unknown, Report>): Promise<Report> {
  const { workload_id, generation } = ask.body;
  const [, shown = ""] = /^Bearer (lampw_[\w-]{32})$/.exec(ask.request.headers.get("authorization") ?? "") ?? [];
  const isOwn = workload_id.startsWith(`${ask.params.id}-`);
  if (!isOwn || !sameHash(shown, await workloadProof(ask.env, workload_id, generation)))
    fail("unauthenticated", "This is not the token of that workload.");
  return ask.body;
}

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
      const report = await proven(ask);
      const reply = await call(
        () => remote(ask.env.INSTANCE, ask.params.id as string),
        (instance) => instance.report(report),
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
      const report = await proven(ask);
      const reply = await call(
        () => remote(ask.env.CONNECTION, ask.params.id as string),
        (connection) => connection.report(report),
      );
      return jsonText(unwrap(reply));
    },
  }),
];
