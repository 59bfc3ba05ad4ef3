import type { Command } from "commander";
import type { ConnectionView } from "../../contract/connection.ts";
import { age } from "../age.ts";
import { inSession, serverCommand } from "../command.ts";
import { connectionId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { sheet } from "../sheet.ts";
import { paintStatus } from "../status.ts";
import { oneLine } from "../terminal.ts";
import { findings } from "./findings.ts";

export function connectionInspectCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "inspect <connection>", "show everything about a connection but its password", [
    "lamplighter connection inspect shop-mysql",
    "lamplighter connection inspect shop/shop-mysql -o yaml",
  ]).action(inSession(around, inspect));
}

async function inspect(session: Session, _options: SessionOptions, reference: string): Promise<void> {
  const { text } = await session.api.get(`/connections/${await connectionId(session.api, reference)}`);
  session.show(text, (view: ConnectionView) => describe(view, session));
}

function describe(view: ConnectionView, { terminal: { color, width }, around }: Session): string {
  const now = around.now();
  const ago = (at: string) => `${age(at, now)} ago  ${color.dim(at)}`;
  const { host, port, user, last_test, allowedActions } = view;
  return sheet(color, width, [
    ["Name", color.bold(view.name)],
    ["Namespace", view.namespace],
    ["Id", view.id],
    ["Status", paintStatus(view.status, view.status, color)],
    ["", oneLine(view.message)],
    ["Kind", view.kind],
    ["Source", host === null ? `the managed database ${view.database_id}` : `${user}@${host}:${port}`],
    ["Database", view.database ?? ""],
    ["TLS", view.tls + (view.ca === null ? "" : ", checked against its own certificates")],
    ["Schemas", view.schemas.join(", ")],
    ["Sync", `${view.allowed_sync_modes.join(", ")}; every ${view.min_sync_interval} s at most`],
    ["Instances", view.instances],
    ["Tested", last_test === null ? "" : ago(last_test.tested_at)],
    ["From host", last_test?.host_id ?? ""],
    ["Found", last_test === null ? "" : findings(last_test).trimEnd().split("\n")],
    [
      "Possible now",
      Object.entries(allowedActions)
        .filter(([, one]) => one.allowed)
        .map(([name]) => name)
        .join(", "),
    ],
    ["Created", ago(view.created_at)],
    ["Revision", String(view.revision)],
  ]);
}
