import type { Command } from "commander";
import type { HostView } from "../../contract/host.ts";
import { formatBytes } from "../../contract/quantity.ts";
import { age } from "../age.ts";
import { inSession, serverCommand } from "../command.ts";
import type { Session, Surroundings } from "../session.ts";
import { paintStatus } from "../status.ts";
import { type Column, table } from "../table.ts";

export function hostListCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "list", "list hosts, newest first", ["lamplighter host list", "lamplighter host list -o json"])
    .alias("ls")
    .action(inSession(around, list));
}

async function list(session: Session): Promise<void> {
  const { terminal, around } = session;
  session.show(await session.list("/hosts", {}, Number.POSITIVE_INFINITY), (rows: HostView[]) =>
    rows.length === 0
      ? "No hosts. `lamplighter host join-token` shows how to join one.\n"
      : table(columns(around.now()), rows, terminal.width, terminal.color),
  );
}

const columns = (now: number): Column<HostView>[] => [
  { title: "id", value: (h) => h.id, weight: 1 },
  { title: "name", value: (h) => h.name, shrink: 16, paint: (text, _h, color) => color.bold(text) },
  { title: "status", value: (h) => h.status, paint: (text, h, color) => paintStatus(text, h.status, color) },
  {
    title: "scheduling",
    value: (h) => h.scheduling,
    weight: 6,
    paint: (text, h, color) => (h.scheduling === "open" ? text : color.yellow(text)),
  },
  { title: "workloads", value: (h) => String(h.workloads), weight: 7, align: "right" },
  { title: "memory reserved", value: memory, weight: 4, align: "right" },
  { title: "cpu reserved", value: cpu, weight: 3, align: "right" },
  { title: "runtimes", value: (h) => h.runtimes.map((one) => one.runtime).join(","), weight: 5 },
  {
    title: "seen",
    value: (h) => (h.last_seen_at === null ? "never" : age(h.last_seen_at, now)),
    weight: 2,
    align: "right",
  },
];

export const memory = (host: HostView): string =>
  `${formatBytes(host.reserved.memory_bytes)} / ${formatBytes(host.capacity.memory_bytes)}`;
export const cpu = (host: HostView): string =>
  `${host.reserved.cpu_millis / 1000} / ${host.capacity.cpu_millis / 1000}`;
