import { readFileSync } from "node:fs";
import { chmod, mkdir } from "node:fs/promises";
import { hostname } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { importPrivateKey, importPublicKey } from "../contract/envelope.ts";
import { PROTOCOL } from "../contract/frame.ts";
import type { HostCapacity } from "../contract/host.ts";
import { ulid } from "../contract/id.ts";
import type { Runtime } from "../contract/workload.ts";
import { answer } from "./answer.ts";
import { ownCapacity } from "./capacity.ts";
import type { Driver } from "./driver.ts";
import { Prober } from "./health/prober.ts";
import { enrol, forgetIdentity, type Identity, JoinRefused, readIdentity } from "./identity.ts";
import { ProxyDriver } from "./instance-proxy/driver.ts";
import { Ledger } from "./ledger.ts";
import { Backoff } from "./link/backoff.ts";
import { Call } from "./link/call.ts";
import { Conversation } from "./link/conversation.ts";
import { Outbox } from "./link/outbox.ts";
import type { Link, Peer } from "./link/peer.ts";
import { Tunnel } from "./link/tunnel.ts";
import { type PolicyFile, permit, readPolicy } from "./policy.ts";
import { PostgresDriver } from "./postgres/driver.ts";
import { Renewals } from "./postgres/renewals.ts";
import { ProcessDriver } from "./process/driver.ts";
import type { PortRange } from "./process/port.ts";
import { Reconciler } from "./reconciler.ts";
import { Runtimes } from "./runtimes.ts";
import { UsageSampler } from "./usage.ts";

const PRUNE_EVERY_MS = 3600_000;

export type AgentOptions = {
  /** The control plane's base URL. */
  url: string;
  /** Everything that the agent keeps. One agent per folder. */
  dataDir: string;
  /** Needed at the first start only. */
  joinToken?: string | undefined;
  /** How the host is called; its hostname when absent. */
  name?: string | undefined;
  labels?: Record<string, string> | undefined;
  transport: "tunnel" | "call";
  /** Where the agent listens; `call` only. */
  listen?: { host: string; port: number } | undefined;
  /** Where the control plane reaches the agent, when that is not `http://<listen>`; `call` only. */
  endpoint?: string | undefined;
  /** Which drivers to enable. */
  runtimes: readonly Runtime[];
  /** `policy.json` in the data folder when absent. */
  policyFile?: string | undefined;
  log?: ((line: string) => void) | undefined;
  /** Overrides what was measured. */
  capacity?: Partial<HostCapacity> | undefined;
  /** From which the process runtime chooses $PORT; 20000 to 29999 when absent. */
  portRange?: PortRange | undefined;
  /** Under which address others reach this host's processes; 127.0.0.1 when absent. */
  advertiseAddress?: string | undefined;
  /** Of the endpoints of instances; chosen once, and kept, when absent. */
  instancePort?: number | undefined;
  /** Over which time the CPU use of measured workloads is measured, ms; 10 s when absent. */
  usageWindowMs?: number | undefined;
  /** Whether the writers of databases are stopped when it is closed: of an agent that will not be back before their leases are over. */
  stopWriters?: boolean | undefined;
  /** The image that databases run from, in place of this host's own PostgreSQL. */
  postgresImage?: string | undefined;
  /** Folders of PostgreSQL's programs, in place of what is found; new databases get the first one. */
  postgresFolders?: readonly string[] | undefined;
  /** The Docker or Podman socket, when it is not where it usually is. */
  socketPath?: string | undefined;
};

export type Agent = {
  hostId: string;
  /** Those of the runtimes that it was started with which can be used now. */
  runtimes(): Runtime[];
  /** `removed`: the control plane removed the host; everything was stopped and the enrolment is forgotten. `closed`: `close()` was called. */
  stopped: Promise<{ reason: "removed" | "closed" }>;
  /** Ends the agent. Every workload goes on running, but for writers of databases if it was started so. */
  close(): Promise<void>;
};

/**
 * Starts the agent of this host: joins when it has not, takes up what runs, and links to the control plane. Resolves when it works; throws a
 * message for a person when it cannot (no join token, another agent on the folder, a policy that does not parse).
 */
export async function runAgent(options: AgentOptions): Promise<Agent> {
  const log = options.log ?? (() => {});
  const dataDir = resolve(options.dataDir);
  const url = options.url.replace(/\/+$/, "");
  await mkdir(dataDir, { recursive: true, mode: 0o711 });
  // Programs of other users must get to their working folders below it; the files in it are the agent's own.
  await chmod(dataDir, 0o711).catch(() => {});
  const policyPath = options.policyFile ?? join(dataDir, "policy.json");
  const policy = await readPolicy(policyPath);
  const ledger = Ledger.open(dataDir);
  try {
    const identity = await whoAmI(options, dataDir, url, log);
    return await work({ options, dataDir, url, log, policy, policyPath, ledger, identity });
  } catch (error) {
    ledger.close();
    throw error;
  }
}

async function whoAmI(
  options: AgentOptions,
  dataDir: string,
  url: string,
  log: (line: string) => void,
): Promise<Identity> {
  const known = await readIdentity(dataDir);
  if (known) return known;
  const { joinToken, transport, listen } = options;
  if (joinToken === undefined) {
    throw new Error(
      `This host has not joined, and there is no join token. Make one with "lamplighter host join-token", and start the agent with it.`,
    );
  }
  const endpoint =
    transport === "call" ? (options.endpoint ?? `http://${listen?.host ?? "127.0.0.1"}:${listen?.port ?? 0}`) : null;
  const name = options.name ?? hostname().slice(0, 63);
  const backoff = new Backoff();
  for (let told = ""; ; ) {
    try {
      const identity = await enrol({
        dataDir,
        url,
        joinToken,
        name,
        labels: options.labels ?? {},
        transport,
        endpoint,
      });
      log(`joined ${url} as ${identity.host_id}`);
      return identity;
    } catch (error) {
      const { message, cause } = error as Error;
      if (error instanceof JoinRefused) throw new Error(`The control plane did not let this host join: ${message}`);
      const why = cause instanceof Error ? `${message} (${cause.message})` : message;
      if (why !== told) log(`cannot join yet: ${why}; trying again until it answers`);
      told = why;
      await sleep(backoff.next());
    }
  }
}

type Working = {
  options: AgentOptions;
  dataDir: string;
  url: string;
  log: (line: string) => void;
  policy: PolicyFile;
  policyPath: string;
  ledger: Ledger;
  identity: Identity;
};

async function work({ options, dataDir, url, log, policy, policyPath, ledger, identity }: Working): Promise<Agent> {
  const peer: Peer = {
    hostId: identity.host_id,
    bootId: ulid(Date.now()),
    url,
    privateKey: await importPrivateKey(identity.private_key),
    controlKey: await importPublicKey(identity.control_public_key),
  };
  const capacity = { ...ownCapacity(), ...withoutUndefined(options.capacity ?? {}) };
  const facts = () => ({ runtimes: runtimes.list(), capacity, policy });

  const renewals = new Renewals(() => outbox.renew(), log);
  const proxy = new ProxyDriver({
    ...{ dataDir, log, advertiseAddress: options.advertiseAddress ?? "127.0.0.1", port: options.instancePort },
    kept: () => ledger.running("proxy"),
    asked: (id, generation, waits) => outbox.asked(id, generation, waits),
  });
  const drivers = await makeDrivers(options, dataDir, identity.host_id, renewals, log);
  const runtimes = new Runtimes({
    // Where there are engines there is the way to them.
    drivers: options.runtimes.includes("process") ? [...drivers, proxy] : drivers,
    observe: (observation) => reconciler.observe(observation),
    cameUp: (runtime, found) => {
      reconciler.adopt(runtime, found);
      reconciler.resume();
    },
    changed: () => outbox.factsChanged(),
    log,
  });
  const reconciler = new Reconciler({
    ledger,
    driver: (runtime) => runtimes.get(runtime),
    permit: (workload) => permit(workload, policy, policyPath),
    retire: (id, generation) => proxy.drain(id, generation),
    changed: (id) => outbox.changed(id),
    attend: (id) => {
      const subject = reconciler.subject(id);
      prober.attend(id, subject);
      sampler.attend(id, subject);
    },
    settled: (revision) => outbox.settled(revision),
    log,
  });
  const prober = new Prober({
    ledger,
    driver: (runtime) => runtimes.get(runtime),
    told: (results) => outbox.checked(results),
    log,
  });
  const sampler = new UsageSampler({
    driver: (runtime) => runtimes.get(runtime),
    told: (usages) => outbox.used(usages),
    log,
    ...(options.usageWindowMs === undefined ? {} : { windowMs: options.usageWindowMs }),
  });
  const outbox = new Outbox({
    hello: () => ({
      kind: "hello",
      protocol: PROTOCOL,
      boot_id: peer.bootId,
      agent_version: agentVersion(),
      ...facts(),
    }),
    facts: () => ({ kind: "facts", ...facts() }),
    inventory: () => reconciler.inventory(),
    observation: (id) => reconciler.observation(id),
    health: () => prober.all(),
    renewal: () => renewals.question(),
  });
  const dismissal = Promise.withResolvers<void>();
  const conversation = new Conversation({
    accept: (workloads) => reconciler.accept(workloads),
    acceptAll: (revision, workloads) => reconciler.acceptAll(revision, workloads),
    answer: (op, question, emit, abort) =>
      answer(op, question, emit, abort, {
        runtimeOf: (id) => reconciler.runtimeOf(id),
        driver: (runtime) => runtimes.get(runtime),
      }),
    renewed: (body) => void renewals.answered(body),
    // Its answer goes out first.
    dismissed: () => setTimeout(dismissal.resolve, 50),
  });

  for (const id of prober.ids()) prober.attend(id, reconciler.subject(id));
  await runtimes.start();
  const linking = { peer, outbox, conversation, log };
  const link: Link =
    options.transport === "tunnel"
      ? new Tunnel(linking)
      : await Call.listen({ ...linking, listen: options.listen ?? { host: "127.0.0.1", port: 0 } });
  const prune = setInterval(() => reconciler.prune(), PRUNE_EVERY_MS);
  prune.unref();

  const end = async (): Promise<void> => {
    clearInterval(prune);
    await link.close();
    prober.close();
    sampler.close();
    renewals.close();
    reconciler.close();
    await runtimes.close();
    ledger.close();
  };
  const stopped = (async (): Promise<{ reason: "removed" | "closed" }> => {
    const reason = await Promise.race([link.ended, dismissal.promise.then(() => "removed" as const)]);
    if (reason === "removed") {
      log("this host was removed: stopping everything on it, and forgetting its enrolment");
      await link.close();
      await reconciler.clear();
      await forgetIdentity(dataDir);
    }
    await end();
    return { reason };
  })();
  return {
    hostId: identity.host_id,
    runtimes: () => options.runtimes.filter((each) => runtimes.list().some(({ runtime }) => runtime === each)),
    stopped,
    close: async () => {
      const postgres = options.stopWriters ? runtimes.get("postgres") : "disabled";
      if (typeof postgres !== "string") await postgres.stopWriters?.();
      await link.close();
      await stopped;
    },
  };
}

async function makeDrivers(
  options: AgentOptions,
  dataDir: string,
  hostId: string,
  renewals: Renewals,
  log: (line: string) => void,
): Promise<Driver[]> {
  const drivers: Driver[] = [];
  for (const runtime of new Set(options.runtimes)) {
    if (runtime === "process") {
      const { portRange, advertiseAddress } = options;
      const controlUrl = options.url.replace(/\/+$/, "");
      const ports = portRange === undefined ? {} : { portRange };
      drivers.push(
        new ProcessDriver({
          dataDir,
          controlUrl,
          log,
          ...ports,
          ...(advertiseAddress === undefined ? {} : { advertiseAddress }),
        }),
      );
      continue;
    }
    if (runtime === "proxy") continue;
    if (runtime === "postgres") {
      const advertiseAddress = options.advertiseAddress ?? "127.0.0.1";
      const named = { image: options.postgresImage, folders: options.postgresFolders };
      drivers.push(new PostgresDriver({ dataDir, log, advertiseAddress, renewals, named }));
      continue;
    }
    // Only here because its client takes longer to load than all the rest, and most agents that a test or a demo starts do not need it.
    const { dockerDriver } = await import("./docker/driver.ts");
    const socket = options.socketPath === undefined ? {} : { socketPath: options.socketPath };
    drivers.push(dockerDriver({ runtime, hostId, stateDir: join(dataDir, runtime), log, ...socket }));
  }
  return drivers;
}

function agentVersion(): string {
  try {
    return (JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string })
      .version;
  } catch {
    return "unknown";
  }
}

const withoutUndefined = <T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
