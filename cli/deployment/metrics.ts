import type { Command } from "commander";
import { formatBytes } from "../../contract/quantity.ts";
import type { InstanceStats } from "../../contract/workload.ts";
import { inSession, serverCommand } from "../command.ts";
import { deploymentId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { type Column, table } from "../table.ts";
import { shortInstance } from "./logs.ts";

type Metrics = { instances: InstanceStats[] };

export function metricsCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "metrics <deployment>", "show what the instances of a deployment use now", [
    "lamplighter deployment metrics web",
    "lamplighter deployment metrics web -o json",
  ]).action(inSession(around, metrics));
}

async function metrics(session: Session, _options: SessionOptions, reference: string): Promise<void> {
  const { text } = await session.api.get(`/deployments/${await deploymentId(session.api, reference)}/metrics`);
  const { width, color } = session.terminal;
  session.show(text, ({ instances }: Metrics) =>
    instances.length === 0 ? "No instance runs.\n" : table(COLUMNS, [...instances, ...total(instances)], width, color),
  );
}

const limited = (used: number, limit: number) =>
  limit > 0 ? `${formatBytes(used)} / ${formatBytes(limit)}` : formatBytes(used);

const COLUMNS: Column<InstanceStats>[] = [
  { title: "instance", value: (i) => shortInstance(i.instance_id) },
  { title: "cpu", value: (i) => `${i.cpu_usage_percent.toFixed(1)} %`, align: "right" },
  { title: "memory", value: (i) => limited(i.memory.usage_bytes, i.memory.limit_bytes), align: "right" },
  { title: "net in", value: (i) => formatBytes(i.network.rx_bytes), weight: 2, align: "right" },
  { title: "net out", value: (i) => formatBytes(i.network.tx_bytes), weight: 2, align: "right" },
  { title: "disk read", value: (i) => formatBytes(i.disk_io.read_bytes), weight: 1, align: "right" },
  { title: "disk write", value: (i) => formatBytes(i.disk_io.write_bytes), weight: 1, align: "right" },
  { title: "pids", value: (i) => String(i.pids.current), weight: 3, align: "right" },
];

/** A last row that sums the others up; none for a single instance. */
function total(instances: readonly InstanceStats[]): InstanceStats[] {
  if (instances.length < 2) return [];
  const sum = (value: (one: InstanceStats) => number) => instances.reduce((all, one) => all + value(one), 0);
  return [
    {
      instance_id: "all",
      instance_name: "all",
      cpu_usage_percent: sum((i) => i.cpu_usage_percent),
      memory: {
        usage_bytes: sum((i) => i.memory.usage_bytes),
        limit_bytes: sum((i) => i.memory.limit_bytes),
        usage_percent: 0,
      },
      network: {
        rx_bytes: sum((i) => i.network.rx_bytes),
        tx_bytes: sum((i) => i.network.tx_bytes),
        rx_packets: 0,
        tx_packets: 0,
      },
      disk_io: { read_bytes: sum((i) => i.disk_io.read_bytes), write_bytes: sum((i) => i.disk_io.write_bytes) },
      pids: { current: sum((i) => i.pids.current), limit: 0 },
    },
  ];
}
