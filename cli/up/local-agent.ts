import { join, resolve } from "node:path";
import type { Runtime } from "../../contract/workload.ts";
import { PROJECT } from "./bundle.ts";
import { type Child, startChild } from "./child.ts";

export type AgentSettings = {
  url: string;
  /** The agent's own folder: its key, its ledger, its workloads. */
  dataDir: string;
  /** Needed once, to enrol. */
  joinToken?: string | undefined;
  name?: string;
  labels?: Record<string, string>;
  runtimes: readonly Runtime[];
  transport?: "tunnel" | "call";
  /** With `call`: where the agent listens, `host:port`, and how the control plane reaches that. */
  listen?: string;
  endpoint?: string;
  postgresBin?: readonly string[] | undefined;
  postgresImage?: string | undefined;
  /** What its environment has beyond ours. */
  env?: Record<string, string>;
  logPath: string;
};

/** The agent leaves its workloads running; it only has to stop databases and to say goodbye. */
export const AGENT_GRACE_MS = 15_000;

/** The command line of an agent of this folder, from its beginning up to its folder; it is how a leftover is known. */
export const agentCommandLine = (dataDir: string): readonly string[] => [
  process.execPath,
  join(PROJECT, "cli", "main.ts"),
  "agent",
  "--data",
  resolve(dataDir),
];

/** Starts an agent as a process of its own (`lamplighter agent`). It joins, connects and reconnects by itself. */
export function startAgent(settings: AgentSettings): Child {
  const { url, joinToken, name, labels = {}, runtimes, transport, listen, endpoint } = settings;
  const [command, ...args] = agentCommandLine(settings.dataDir) as [string, ...string[]];
  const flag = (flagName: string, value: string | undefined) => (value === undefined ? [] : [flagName, value]);
  return startChild({
    command,
    args: [
      ...args,
      ...["--url", url, "--runtime", runtimes.join(","), "--stop-databases"],
      ...flag("--name", name),
      ...flag("--transport", transport),
      ...flag("--listen", listen),
      ...flag("--endpoint", endpoint),
      ...(settings.postgresBin ?? []).flatMap((folder) => ["--postgres-bin", resolve(folder)]),
      ...flag("--postgres-image", settings.postgresImage),
      ...Object.entries(labels).flatMap(([key, value]) => ["--label", `${key}=${value}`]),
    ],
    // In the environment, where other users of this machine cannot read it as they can a command line.
    env: { ...process.env, ...settings.env, LAMPLIGHTER_JOIN_TOKEN: joinToken },
    cwd: PROJECT,
    logPath: settings.logPath,
  });
}
