import type { Command } from "commander";
import type { ConnectionView } from "../../contract/connection.ts";
import { formatBytes } from "../../contract/quantity.ts";
import { inSession, serverCommand } from "../command.ts";
import { Failure } from "../failure.ts";
import { connectionId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

export function connectionTestCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "test <connection>", "try it out from a host, as an engine would connect", [
    "lamplighter connection test shop-mysql",
  ]).action(inSession(around, test));
}

async function test(session: Session, _options: SessionOptions, reference: string): Promise<void> {
  const id = await connectionId(session.api, reference);
  const { text } = await session.api.post(`/connections/${id}/test`, { timeoutMs: 45_000 });
  session.show(text, (view: ConnectionView) => findings(view));
  const { last_test } = JSON.parse(text) as ConnectionView;
  if (last_test === null) throw new Failure("the test is still under way");
  if (!last_test.ok) throw new Failure(`${reference}: ${last_test.error?.message ?? "the source cannot be read"}`);
}

/** What was found, each with what mends it. */
function findings({ last_test }: ConnectionView): string {
  if (last_test === null) return "";
  const { ok, server_version, latency_ms, estimated_bytes, replication } = last_test;
  const lines = ok
    ? [
        `ok: ${server_version ?? "the source"} answers in ${latency_ms ?? "?"} ms${estimated_bytes === null ? "" : `, about ${formatBytes(estimated_bytes)}`}`,
        `replication: ${replication.mode}${replication.ready ? "" : ", not ready: polling is used until it is"}`,
      ]
    : [];
  for (const { severity, message, fix } of last_test.findings)
    lines.push(`${severity}: ${message}`, ...(fix === null ? [] : [`  ${fix}`]));
  return lines.map((line) => `${line}\n`).join("");
}
