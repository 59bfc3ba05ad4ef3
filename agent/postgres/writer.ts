import { createHash } from "node:crypto";
import { mkdir, readFile, stat } from "node:fs/promises";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { ProfileName } from "../../contract/database-profile.ts";
import { type KeptDatabase, type RestorePlan, standbyName } from "../../contract/keeper.ts";
import type { Connection } from "../../postgres/connection.ts";
import { formatLsn, parseLsn } from "../../postgres/lsn.ts";
import { literal } from "../../postgres/replication/commands.ts";
import { scramVerifier } from "../../postgres/scram-client.ts";
import type { Account } from "../process/account.ts";
import { giveTo } from "./account.ts";
import { pack, syncAll } from "./archive.ts";
import type { Installation } from "./binaries.ts";
import { Cluster } from "./cluster.ts";
import { endOfLog, readControlFile } from "./control-file.ts";
import { type KeeperAddress, KeeperClient, KeeperFailure } from "./keeper-client.ts";
import { type Decision, decide } from "./ladder.ts";
import { configuration, hostRules, identityMap, REPLICATION_USER } from "./parameters.ts";
import { Postmaster } from "./postmaster.ts";
import { keptOf, mostComplete } from "./quorum.ts";
import { restore } from "./restore.ts";
import { type Naming, nameDatabase, setReplicationVerifier } from "./roles.ts";
import type { Template } from "./template.ts";

/** What the control plane orders: that under this term the database's writer is to run here. */
export type StartOrder = {
  database: string;
  term: number;
  profile: ProfileName;
  naming: Naming;
  keepers: readonly KeeperAddress[];
  /** How many keepers acknowledge a commit. */
  quorum: number;
  /** By which the keepers log in. The same for every term. */
  replicationPassword: string;
  /** Where the gateways and the keepers reach it. */
  listen: { host: string; port: number };
  /** For a database that begins as another one was at some moment. */
  from?: { database: string; target: RestorePlan["target"] } | undefined;
};

export type Phases = Record<string, number>;

export type Started = {
  rung: number;
  why: string;
  /** What each part took, ms. */
  phases: Phases;
  postmaster: Postmaster;
  /** How much was fetched, when it was restored. */
  restoredBytes: number;
};

/** Why there is no writer. `code` tells what may help. */
export class NotStarted extends Error {
  readonly code: Extract<Decision, { do: "refuse" }>["code"] | "failed";

  constructor(code: NotStarted["code"], message: string) {
    super(message);
    this.code = code;
  }
}

export type WritersOptions = {
  root: string;
  account: Account;
  installation: Installation;
  template: Template;
  log: (line: string) => void;
  /** How long the replay of the log, and the keepers after it, may take. */
  startTimeoutMs?: number | undefined;
};

const START_TIMEOUT_MS = 600_000;
const MOST_SOCKET_PATH = 90;

type Answer = { client: KeeperClient; status: KeptDatabase };

/** The PostgreSQL writers of this host. Per database, one thing is done at a time: that is the caller's to see to. */
export class Writers {
  readonly #options: WritersOptions;

  constructor(options: WritersOptions) {
    this.#options = options;
  }

  /** Climbs the ladder until the writer runs, every acknowledged commit is in it, and enough keepers follow it. Repeatable. */
  async start(order: StartOrder): Promise<Started> {
    const clock = new Stopwatch();
    const { root, account } = this.#options;
    const cluster = new Cluster(root, order.database, account);
    await cluster.make();
    const { fence } = cluster.mark();
    if (order.term > fence) await cluster.setMark({ fence: order.term });
    let localDiverged = false;
    for (let attempt = 0; attempt < 4; attempt++) {
      const answers = await this.#promises(order);
      const source = mostComplete(answers, order.keepers.length, order.quorum);
      const running = await this.running(order);
      const kept =
        order.keepers.length === 0
          ? unkept
          : source &&
            keptOf(
              answers.map(({ status }) => status),
              source.status,
            );
      const runningTerm = running === null ? null : cluster.mark().opened;
      const local = running === null ? await cluster.local() : null;
      const decision = decide({ term: order.term, fence, runningTerm, local, kept, localDiverged, driver: "process" });
      clock.lap("keepers");
      this.#options.log(`${order.database}: term ${order.term}: ${decision.do}: ${decision.why}`);
      if (decision.do === "refuse") throw new NotStarted(decision.code, decision.why);
      if (decision.do === "stop") {
        await running?.stop();
        clock.lap("stop");
        continue;
      }
      const done = await this.#carryOut(order, cluster, decision, source, answers, running, clock);
      if (done) return done;
      localDiverged = true;
    }
    throw new NotStarted("failed", "the keepers do not follow the writer, however it is started");
  }

  /** Stops the writer of a term. What was acknowledged is with the keepers; the copy here is complete too when `clean`. */
  async stop(order: StartOrder): Promise<{ clean: boolean }> {
    const cluster = this.cluster(order.database);
    const running = await this.running(order);
    await running?.stop();
    await Promise.allSettled(clientsOf(order).map((client) => client.release(order.term)));
    return { clean: (await cluster.local())?.state === "clean" };
  }

  /** The running writer of a database, of whatever term. */
  async running(order: StartOrder): Promise<Postmaster | null> {
    const cluster = this.cluster(order.database);
    const place = await this.#place(cluster, order);
    return Postmaster.find({ ...place, port: cluster.mark().port ?? place.port });
  }

  cluster(database: string): Cluster {
    return new Cluster(this.#options.root, database, this.#options.account);
  }

  /** Null when the keepers found that it does not continue their log. */
  async #carryOut(
    order: StartOrder,
    cluster: Cluster,
    decision: Exclude<Decision, { do: "refuse" | "stop" }>,
    source: Answer | null,
    answers: readonly Answer[],
    running: Postmaster | null,
    clock: Stopwatch,
  ): Promise<Started | null> {
    let recovery: { timeline: number; target: RestorePlan["target"] } | null = null;
    let restoredBytes = 0;
    if (decision.do === "create" && order.from === undefined) {
      await this.#create(order, cluster, answers);
      clock.lap("create");
    } else if (decision.do === "create" || decision.do === "restore") {
      const from = decision.do === "create" ? order.from : undefined;
      const client = from ? await richest(order, from.database) : source?.client;
      if (!client) throw new NotStarted("not_restorable", "no keeper answers that could be restored from");
      const target = from?.target ?? null;
      const { plan, bytes } = await restore(cluster, client, target, this.#options.account);
      recovery = { timeline: plan.timeline, target };
      restoredBytes = bytes;
      clock.lap("fetch");
    }
    const postmaster = running ?? (await this.#launch(order, cluster, recovery));
    clock.lap("spawn");
    const followed = this.#tellKeepers(order, postmaster);
    try {
      const connection = await this.#untilReady(order, cluster, postmaster, recovery);
      clock.lap("recovery");
      await setReplicationVerifier(connection, await this.#verifier(order));
      await followed;
      const isFollowed = await this.#untilFollowed(order, connection);
      clock.lap("keepers");
      if (!isFollowed) {
        connection.end();
        await postmaster.stopAtOnce();
        return null;
      }
      await nameDatabase(connection, order.naming);
      clock.lap("roles");
      // Not waited for: until then a crash right after a restore means another restore.
      if (recovery) connection.send("CHECKPOINT");
      connection.end();
      const rung = decision.rung;
      return { rung, why: decision.why, phases: clock.phases, postmaster, restoredBytes };
    } catch (error) {
      await postmaster.stopAtOnce().catch(() => {});
      throw error;
    }
  }

  /** A new cluster, from which the keepers have a base backup before it is opened. */
  async #create(order: StartOrder, cluster: Cluster, answers: readonly Answer[]): Promise<void> {
    const { template, installation } = this.#options;
    const folder = await cluster.clearIncoming();
    await template.copyTo(installation, folder);
    await syncAll(folder);
    const control = await readControlFile(folder);
    if (control === null) throw new NotStarted("failed", "the template cannot be read");
    const query = {
      term: order.term,
      system_identifier: control.systemIdentifier,
      timeline: control.timeline,
      start_lsn: formatLsn(control.redo),
      end_lsn: formatLsn(await endOfLog(folder, control)),
      bytes: 0,
      postgres_version: installation.version,
    };
    // One that cannot take it now takes a base backup of the writer later.
    const seeds = await Promise.allSettled(answers.map(({ client }) => client.seed(query, pack(folder))));
    const failed = seeds.filter((seed) => seed.status === "rejected");
    if (answers.length - failed.length < order.quorum)
      throw new NotStarted("keepers_unreachable", `the keepers do not take it: ${failed[0]?.reason}`);
    await cluster.acceptIncoming();
  }

  async #launch(
    order: StartOrder,
    cluster: Cluster,
    recovery: { timeline: number; target: RestorePlan["target"] } | null,
  ): Promise<Postmaster> {
    const { account, installation } = this.#options;
    const place = await this.#place(cluster, order);
    await cluster.setMark({ opened: order.term, port: place.port });
    await cluster.write(
      "postgresql.conf",
      configuration({
        ...{ database: order.database, term: order.term, profile: order.profile, major: installation.major },
        ...{ listen: order.listen, socketFolder: place.socketFolder, folder: cluster.folder },
        ...{ keepers: order.keepers.map(({ name }) => name), quorum: order.quorum, recovery },
      }),
    );
    await cluster.write("pg_hba.conf", hostRules());
    await cluster.write("pg_ident.conf", identityMap(userInfo().username));
    await cluster.write("postgresql.log", "");
    const { configFile, logFile } = cluster;
    return Postmaster.start(installation.folder, place, { configFile, logFile, account });
  }

  async #untilReady(
    order: StartOrder,
    cluster: Cluster,
    postmaster: Postmaster,
    recovery: { timeline: number; target: RestorePlan["target"] } | null,
  ): Promise<Connection> {
    try {
      return await postmaster.ready(this.#options.startTimeoutMs ?? START_TIMEOUT_MS);
    } catch (error) {
      const tail = (await readFile(cluster.logFile, "utf8").catch(() => "")).slice(-4000);
      // Nothing was committed between the last commit and the moment that was asked for: the end of the log is that moment.
      const isPastEnd = tail.includes("recovery ended before configured recovery target was reached");
      if (isPastEnd && recovery?.target && "time" in recovery.target) {
        const again = await this.#launch(order, cluster, { ...recovery, target: null });
        return again.ready(this.#options.startTimeoutMs ?? START_TIMEOUT_MS);
      }
      const said = tail
        .split("\n")
        .filter((line) => /FATAL|PANIC|ERROR/.test(line))
        .at(-1);
      throw new NotStarted("failed", said === undefined ? (error as Error).message : said);
    }
  }

  async #promises(order: StartOrder): Promise<Answer[]> {
    const asked = clientsOf(order).map(async (client) => ({ client, status: await client.promise(order.term) }));
    const answers = await Promise.allSettled(asked);
    for (const answer of answers)
      if (answer.status === "rejected" && answer.reason instanceof KeeperFailure && answer.reason.code === "stale_term")
        throw new NotStarted("stale_term", answer.reason.message);
    return answers.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value] : []));
  }

  async #tellKeepers(order: StartOrder, postmaster: Postmaster): Promise<void> {
    const { term, listen, replicationPassword: password } = order;
    const writer = {
      term,
      host: listen.host,
      port: postmaster.place.port,
      user: REPLICATION_USER,
      password,
      tls: "off",
    } as const;
    await Promise.allSettled(clientsOf(order).map((client) => client.follow(writer)));
  }

  /**
   * Until enough keepers have everything that the writer began with. Earlier nobody may look: what is read then could be lost again. False
   * when the keepers say that it is another log.
   */
  async #untilFollowed(order: StartOrder, connection: Connection): Promise<boolean> {
    if (order.keepers.length === 0) return true;
    const names = order.keepers.map(({ name }) => literal(standbyName(name, order.term))).join(", ");
    const [row] = await connection.query("SELECT pg_current_wal_flush_lsn() AS lsn");
    const begun = parseLsn(row?.lsn ?? "");
    const end = performance.now() + (this.#options.startTimeoutMs ?? START_TIMEOUT_MS);
    for (let askAt = performance.now() + 500; ; ) {
      const rows = await connection.query(
        `SELECT flush_lsn FROM pg_stat_replication WHERE application_name IN (${names}) AND state = 'streaming'`,
      );
      if (rows.filter(({ flush_lsn }) => flush_lsn && parseLsn(flush_lsn) >= begun).length >= order.quorum) return true;
      const now = performance.now();
      if (now > askAt) {
        askAt = now + 500;
        const statuses = await Promise.allSettled(clientsOf(order).map((client) => client.status()));
        const known = statuses.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
        const diverged = known.filter(({ following }) => following.state === "diverged").length;
        if (order.keepers.length - diverged < order.quorum) return false;
        if (known.every(({ promised_term }) => promised_term > order.term) && known.length > 0)
          throw new NotStarted("stale_term", "the keepers have promised a later term meanwhile");
        if (now > end) throw new NotStarted("keepers_unreachable", `no keeper follows: ${reasons(known)}`);
      }
      await sleep(2);
    }
  }

  async #place(cluster: Cluster, order: StartOrder) {
    const place = { pgdata: cluster.pgdata, port: order.listen.port };
    const wanted = join(cluster.folder, "run");
    const short = join(tmpdir(), `lamplighter-${createHash("sha256").update(wanted).digest("hex").slice(0, 12)}`);
    // The kernel takes no longer paths for a socket.
    const socketFolder = wanted.length > MOST_SOCKET_PATH ? short : wanted;
    await mkdir(socketFolder, { recursive: true, mode: 0o700 });
    const own = [userInfo().uid, this.#options.account?.uid];
    if (!own.includes((await stat(socketFolder)).uid))
      throw new NotStarted("failed", `${socketFolder} is someone else's`);
    await giveTo(this.#options.account, socketFolder);
    return { ...place, socketFolder };
  }

  /** Always the same for a password, so that it is written once; whoever could read it here could read the password too. */
  #verifier({ database, replicationPassword }: StartOrder): Promise<string> {
    const salt = createHash("sha256").update(`${database}:${replicationPassword}`).digest().subarray(0, 16);
    return scramVerifier(replicationPassword, salt);
  }
}

const unkept = {
  ...{ promisedTerm: 0, writerTerm: 0, systemIdentifier: null, timeline: 0 },
  ...{ flush: null, restorable: false, baseBytes: 0 },
};

const clientsOf = (order: StartOrder): KeeperClient[] =>
  order.keepers.map((keeper) => new KeeperClient(keeper, order.database));

/** The keeper that has the most of a database that is not to be changed. */
async function richest(order: StartOrder, database: string): Promise<KeeperClient | null> {
  const asked = order.keepers.map(async (keeper) => {
    const client = new KeeperClient(keeper, database);
    return { client, status: await client.status() };
  });
  const answers = (await Promise.allSettled(asked)).flatMap((each) =>
    each.status === "fulfilled" ? [each.value] : [],
  );
  return mostComplete(answers, answers.length, 1)?.client ?? null;
}

const reasons = (known: readonly KeptDatabase[]): string =>
  known.map(({ keeper, following }) => `${keeper} ${following.reason ?? following.state}`).join("; ");

class Stopwatch {
  readonly phases: Phases = {};
  #at = performance.now();

  lap(phase: string): void {
    const now = performance.now();
    this.phases[phase] = (this.phases[phase] ?? 0) + (now - this.#at);
    this.#at = now;
  }
}
