import { homedir } from "node:os";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { parseCpu, parseMemory } from "../contract/quantity.ts";
import { collect, withExamples } from "./command.ts";
import { chooseTarget } from "./contexts.ts";
import { Failure } from "./failure.ts";
import { keyValues } from "./key-values.ts";
import { listenAddress } from "./listen-address.ts";
import type { Surroundings } from "./session.ts";
import { oneLine } from "./terminal.ts";
import { parseRuntimes, presentRuntimes } from "./up/runtimes.ts";

type Options = {
  url?: string;
  joinToken?: string;
  data: string;
  name?: string;
  label?: string[];
  runtime?: string;
  transport: string;
  listen?: string;
  endpoint?: string;
  policy?: string;
  memory?: string;
  cpu?: string;
  advertise?: string;
  instancePort?: string;
  stopDatabases?: boolean;
  postgresBin?: string[];
  postgresImage?: string;
};

export function agentCommand(program: Command, around: Surroundings): void {
  withExamples(
    program
      .command("agent")
      .description("run the agent of this machine, which runs what the control plane places here"),
    [
      "lamplighter agent --url https://lamps.example.com --join-token lamp_…",
      "lamplighter agent --runtime process,docker --label zone=a",
      "lamplighter agent --transport call --listen 0.0.0.0:7443 --endpoint http://10.0.0.5:7443",
    ],
  )
    .option("--url <url>", "the control plane's URL ($LAMPLIGHTER_URL, or the current context's)")
    .option("--join-token <token>", "needed once, to join ($LAMPLIGHTER_JOIN_TOKEN)")
    .option("--data <folder>", "where the agent keeps its key and its workloads", defaultFolder(around))
    .option("--name <name>", "how the host is called; otherwise this machine's name")
    .option("-l, --label <key=value>", "a label for this host (repeat for several)", collect)
    .option(
      "--runtime <list>",
      "process,docker,podman,postgres; otherwise process, postgres and the engines that answer now",
    )
    .option("--transport <kind>", "tunnel: the agent dials out. call: the control plane calls the agent", "tunnel")
    .option("--listen <host:port>", "with call: where the agent listens")
    .option("--endpoint <url>", "with call: how the control plane reaches that")
    .option("--policy <file>", "what this host permits; otherwise policy.json in the data folder")
    .option("--memory <size>", "memory that workloads may reserve, such as 8Gi; otherwise measured")
    .option("--cpu <cores>", "CPU that workloads may reserve, such as 4 or 500m; otherwise measured")
    .option("--advertise <address>", "under which address others reach this host's processes; otherwise 127.0.0.1")
    .option(
      "--instance-port <port>",
      "of the endpoints of instances; otherwise one from 30000 to 30999, and always that",
    )
    .option(
      "--stop-databases",
      "when it ends, databases that are awake here stop first; otherwise they may go on for 20 s",
    )
    .option(
      "--postgres-bin <folder>",
      "PostgreSQL's programs for new databases; otherwise the newest that is found (repeat for what older ones need)",
      collect,
    )
    .option(
      "--postgres-image <image>",
      "run databases in containers of this image, which needs a Docker Engine and Linux",
    )
    .action((options: Options) => agent(options, around));
}

async function agent(options: Options, around: Surroundings): Promise<void> {
  const { terminal, interrupt, env } = around;
  const joinToken = options.joinToken ?? (env.LAMPLIGHTER_JOIN_TOKEN || undefined);
  // Nothing that the agent starts needs to inherit these.
  delete env.LAMPLIGHTER_JOIN_TOKEN;
  delete env.LAMPLIGHTER_TOKEN;
  if (options.transport !== "tunnel" && options.transport !== "call")
    throw new Failure(`--transport '${options.transport}': expected tunnel or call`);
  const { transport } = options;
  const runtimes = options.runtime === undefined ? await presentRuntimes() : parseRuntimes(options.runtime);
  const { runAgent } = await import("../agent/main.ts");
  const log = (line: string) => terminal.out(`${new Date(around.now()).toISOString()} ${oneLine(line)}\n`);
  const running = await runAgent({
    url: chooseTarget({ url: options.url }, env).url,
    dataDir: options.data,
    joinToken,
    name: options.name,
    labels: keyValues(options.label ?? [], "--label"),
    transport,
    listen: options.listen === undefined ? undefined : listenAddress(options.listen, "--listen", "0.0.0.0:7443"),
    endpoint: options.endpoint,
    runtimes,
    policyFile: options.policy,
    capacity: {
      ...size("memory_bytes", options.memory, parseMemory, "--memory"),
      ...size("cpu_millis", options.cpu, parseCpu, "--cpu"),
    },
    advertiseAddress: options.advertise,
    instancePort: options.instancePort === undefined ? undefined : port(options.instancePort, "--instance-port"),
    stopWriters: options.stopDatabases,
    postgresImage: options.postgresImage,
    postgresFolders: options.postgresBin?.map((folder) => resolve(folder)),
    log,
  }).catch((error: Error) => {
    throw new Failure(oneLine(error.message), { cause: error });
  });
  const usable = running.runtimes();
  const absent = runtimes.filter((each) => !usable.includes(each));
  const without = absent.length === 0 ? "" : `, without ${absent.join(", ")}: looked for again every 30 s`;
  log(`the agent of ${running.hostId} works, with ${usable.join(", ") || "nothing"}${without}`);
  const interrupted = new Promise<"interrupted">((done) => {
    if (interrupt.signal.aborted) done("interrupted");
    interrupt.signal.addEventListener("abort", () => done("interrupted"));
  });
  const why = await Promise.race([running.stopped, interrupted]);
  if (why === "interrupted") {
    interrupt.handled = true;
    await running.close();
    log(`the agent has stopped; its workloads go on running${options.stopDatabases ? ", databases excepted" : ""}`);
  } else if (why.reason === "removed") {
    log("the agent has ended: its host was removed");
  }
}

function port(text: string, flag: string): number {
  const number = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (number < 1 || number > 65_535) throw new Failure(`${flag} '${text}': expected a port from 1 to 65535`);
  return number;
}

function defaultFolder({ env }: Surroundings): string {
  if (process.getuid?.() === 0) return "/var/lib/lamplighter/agent";
  return join(env.XDG_STATE_HOME || join(env.HOME || homedir(), ".local", "state"), "lamplighter", "agent");
}

function size(
  member: "memory_bytes" | "cpu_millis",
  text: string | undefined,
  parse: (text: string) => number | null,
  flag: string,
) {
  if (text === undefined) return {};
  const value = parse(text);
  if (value === null)
    throw new Failure(
      `${flag} '${text}': expected ${member === "memory_bytes" ? "a size such as 8Gi" : "cores such as 4 or 500m"}`,
    );
  return { [member]: value };
}
