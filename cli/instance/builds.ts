import type { Command } from "commander";
import type { BuildView } from "../../contract/build.ts";
import { age } from "../age.ts";
import { inSession, serverCommand } from "../command.ts";
import { instanceId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { paintStatus } from "../status.ts";
import { type Column, table } from "../table.ts";
import { oneLine } from "../terminal.ts";

export function buildsCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "builds <instance>", "list the builds of an instance, newest first", [
    "lamplighter instance builds shop-read",
  ]).action(inSession(around, builds));
}

async function builds(session: Session, _options: SessionOptions, instance: string): Promise<void> {
  const { terminal, around } = session;
  const { text } = await session.api.get(`/instances/${await instanceId(session.api, instance)}/builds`);
  session.show(text, (list: { builds: BuildView[] }) =>
    list.builds.length === 0
      ? "No builds.\n"
      : table(columns(around.now()), list.builds, terminal.width, terminal.color),
  );
}

const columns = (now: number): Column<BuildView>[] => [
  { title: "id", value: (b) => b.id },
  { title: "status", value: (b) => b.status, paint: (text, b, color) => paintStatus(text, b.status, color) },
  { title: "deployable", value: (b) => (b.deployable ? "yes" : "no"), weight: 2 },
  { title: "tables", value: (b) => (b.tables === null ? "–" : String(b.tables)), weight: 4, align: "right" },
  {
    title: "took",
    value: (b) => (b.duration_seconds === null ? "–" : `${b.duration_seconds} s`),
    weight: 3,
    align: "right",
  },
  { title: "error", value: (b) => oneLine(b.error?.message ?? ""), weight: 1, shrink: 20 },
  { title: "age", value: (b) => age(b.created_at, now), weight: 1, align: "right" },
];
