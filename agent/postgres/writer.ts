import { readFile, rm } from "node:fs/promises";
import { userInfo } from "node:os";
import { PROFILES } from "../../contract/database-profile.ts";
import type { RestorePlan, RestoreTarget } from "../../contract/keeper.ts";
import type { Note } from "../../contract/workload.ts";
import type { WriterOrder } from "../../contract/writer.ts";
import type { Connection } from "../../postgres/connection.ts";
import type { Account } from "../process/account.ts";
import type { Pid } from "../process/pid.ts";
import { Attendance } from "./attendance.ts";
import { type Installation, isThere, ofMajor } from "./binaries.ts";
import { Cluster } from "./cluster.ts";
import { createCluster } from "./creation.ts";
import { Damaged, lastComplaint, majorOf, meetsDamage, saysDamage } from "./damage.ts";
import { certificateOf, makeCertificate } from "./encryption.ts";
import { KeeperGroup, type Promised, type WriterPlace } from "./keeper-group.ts";
import { type Decision, decide, restoreRung } from "./ladder.ts";
import { isOver, Leases, leaseOf, type Renewal, thisMoment } from "./lease.ts";
import type { WriterLimits } from "./limits.ts";
import { NotStarted } from "./not-started.ts";
import { configuration, hostRules, identityMap } from "./parameters.ts";
import { placeOf } from "./place.ts";
import { Postmaster, runningOn } from "./postmaster.ts";
import { letReadersGo, setReader } from "./reader.ts";
import { restore } from "./restore.ts";
import { nameDatabase, setReplicationVerifier } from "./roles.ts";
import { type Phases, Stopwatch } from "./stopwatch.ts";
import type { Template } from "./template.ts";
import { keepWatch } from "./watchdog.ts";

/** An order, and where the gateways and the keepers are to reach the writer: the host chooses that. */
export type StartOrder = WriterOrder & { listen: { host: string; port: number } };

export type Started = {
  rung: number;
  why: string;
  /** Why the copy that was here had to be restored; null when there was none, or what it was is known. */
  damage: string | null;
  /** What each part took, ms. */
  phases: Phases;
  postmaster: Postmaster;
  /** How much was fetched, when it was restored. */
  restoredBytes: number;
  /** See `Promised`. */
  olderUntil: number;
  /** By which it is known, PEM; null where it is reached without TLS, on this host only. */
  certificate: string | null;
  /** Resolves when the writer has ended by itself: it crashed, or its lease was over. */
  ended: Promise<void>;
};

export type WritersOptions = {
  root: string;
  account: Account;
  /** What new databases are made with now: a host's PostgreSQL may be upgraded. */
  installation: () => Installation;
  /** Looks for all of this host: a data folder can only be opened by the version that made it. */
  installations?: (() => Promise<readonly Installation[]>) | undefined;
  template: Template;
  log: (line: string) => void;
  /** Of those that are processes of the host. */
  limits?: WriterLimits | undefined;
  /** What clients notice of a running writer's troubles, whenever that changes. */
  noted?: ((database: string, term: number, notes: Note[]) => void) | undefined;
  /** Since when a running writer's database can be restored to any moment, now and then. */
  restorable?: ((database: string, term: number, since: number) => void) | undefined;
  /** How long the replay of the log, and the keepers after it, may take. */
  startTimeoutMs?: number | undefined;
};

const START_TIMEOUT_MS = 600_000;

type Recovery = { timeline: number; target: RestoreTarget };

/** The PostgreSQL writers of this host. Per database, one thing is done at a time: that is the caller's to see to. */
export class Writers {
  readonly #options: WritersOptions;
  readonly #leases: Leases;
  readonly #renewals = new Map<string, Renewal & { term: number }>();
  readonly #attendances = new Map<string, Attendance>();
  #others: readonly Installation[] = [];

  constructor(options: WritersOptions) {
    this.#options = options;
    this.#leases = new Leases(options.root);
  }

  /** Climbs the ladder until the writer runs, every acknowledged commit is in it, and enough keepers follow it. Repeatable. */
  async start(
    order: StartOrder,
    isLeased: Promise<boolean> = unleased,
    told: (progress: string) => void = () => {},
  ): Promise<Started> {
    const clock = new Stopwatch();
    const { root, account } = this.#options;
    const cluster = new Cluster(root, order.database, account);
    await cluster.make();
    const { fence } = cluster.mark();
    const fenced = order.term > fence ? cluster.setMark({ fence: order.term }) : cluster.mark();
    this.#leave(order.database);
    const group = new KeeperGroup(order);
    let localDiverged = false;
    let damage: string | null = null;
    for (let attempt = 0; attempt < 4; attempt++) {
      const [promised] = await Promise.all([order.term < fence ? unasked : group.promises(), fenced]);
      const running = await this.running(order);
      const { served_term: servedTerm, accept_loss: acceptLoss = false } = order;
      const runningTerm = running === null ? null : cluster.mark().opened;
      const found = running === null ? await cluster.local() : null;
      const local = found !== null && damage !== null ? ({ state: "damaged", why: damage } as const) : found;
      const facts = { term: order.term, fence, servedTerm, acceptLoss, runningTerm, local, kept: promised.kept };
      const decision = decide({
        ...facts,
        localDiverged,
        driver: this.#options.installation().image === undefined ? "process" : "container",
      });
      clock.lap("keepers");
      this.#options.log(`${order.database}: term ${order.term}: ${decision.do}: ${decision.why}`);
      if (decision.do === "refuse") {
        const said = decision.code === "keepers_unreachable" ? promised.failures : [];
        throw new NotStarted(decision.code, [decision.why, ...said].join("; "));
      }
      if (decision.do === "stop") {
        await running?.stop();
        clock.lap("stop");
        continue;
      }
      const start = { order, isLeased, told, cluster, group, promised, running, clock };
      try {
        const done = await this.#carryOut(start, decision);
        if (done) return { ...done, damage: decision.do === "restore" ? decision.damage : null };
        localDiverged = true;
      } catch (error) {
        const isOfCopy = decision.do === "start" || decision.do === "recover";
        if (!(error instanceof Damaged) || !isOfCopy) throw error;
        damage = error.message;
      }
    }
    throw new NotStarted("failed", "the keepers do not follow the writer, however it is started");
  }

  /** Looks after a writer that an earlier agent has started and seen ready. Null when it does not run any more. */
  async attend(order: StartOrder): Promise<Pick<Started, "postmaster" | "ended"> | null> {
    const cluster = this.cluster(order.database);
    const postmaster = cluster.mark().opened === order.term ? await this.running(order) : null;
    if (postmaster === null) return null;
    postmaster.letGoOn();
    const address = await this.#reachedAt(order, postmaster);
    return { postmaster, ended: this.#lookAfter(order, postmaster, new KeeperGroup(order), address) };
  }

  /** Stops the writer of a term. What was acknowledged is with the keepers; the copy here is complete too when `clean`. */
  async stop(order: StartOrder): Promise<{ clean: boolean }> {
    const cluster = this.cluster(order.database);
    const { fence, opened } = cluster.mark();
    if (order.term < fence) throw new NotStarted("stale_term", `this host was given term ${fence} already`);
    this.#leave(order.database);
    const running = await this.running(order);
    if (running && order.reader) await letReadersGo(running).catch(() => {});
    await running?.stop();
    // It may lie beside all that goes with the data folder.
    await rm(cluster.socketFolder, { recursive: true, force: true });
    await this.#leases.drop(order.database);
    this.#renewals.delete(order.database);
    if (opened > 0) await new KeeperGroup(order).release();
    return { clean: (await cluster.local())?.state === "clean" };
  }

  /**
   * The lease of a term's writer goes on. Worth calling before `start` too, for nothing is opened once it is over. A writer without any lease runs
   * until it is stopped: for a host that no other could take the place of.
   */
  async renew(database: string, term: number, renewal: Renewal): Promise<void> {
    const { fence, opened } = this.cluster(database).mark();
    const known = this.#renewals.get(database);
    // Answers may overtake each other.
    if (term < fence || (known?.term === term && known.sent.monotonic >= renewal.sent.monotonic)) return;
    this.#renewals.set(database, { ...renewal, term });
    const { pgdata } = this.cluster(database);
    const postmaster = opened === term ? await runningOn(pgdata) : null;
    if (postmaster) await this.#grant(database, postmaster);
  }

  /** Leaves the writers running, and looks after them no more. */
  close(): void {
    for (const database of [...this.#attendances.keys()]) this.#leave(database);
  }

  /** The running writer of a database, of whatever term. */
  async running(order: StartOrder): Promise<Postmaster | null> {
    const cluster = this.cluster(order.database);
    const place = await placeOf(cluster, order.listen.port, this.#options.account);
    return Postmaster.find({ ...place, port: cluster.mark().port ?? place.port });
  }

  cluster(database: string): Cluster {
    return new Cluster(this.#options.root, database, this.#options.account);
  }

  /** Null when the keepers found that it does not continue their log. */
  async #carryOut(
    start: Start,
    decision: Exclude<Decision, { do: "refuse" | "stop" }>,
  ): Promise<Omit<Started, "damage"> | null> {
    const { order, cluster, group, promised, running, clock } = start;
    let recovery: Recovery | null = null;
    let restoredBytes = 0;
    if (decision.do === "create" && order.from === undefined) {
      const { template, installation } = this.#options;
      await createCluster(order, cluster, promised, { template, installation: installation() });
      clock.lap("create");
    } else if (decision.do === "create" || decision.do === "restore") {
      const from = decision.do === "create" ? order.from : undefined;
      const client = from ? await group.richestOf(from.database) : promised.source;
      if (!client) throw new NotStarted("not_restorable", "no keeper answers that could be restored from");
      const target = from?.target ?? null;
      const { account } = this.#options;
      const check = async ({ base }: RestorePlan) => {
        const major = Number.parseInt(base.postgres_version, 10);
        // What cannot be read is seen in the data folder.
        if (major > 0) await this.#ofMajor(major);
      };
      const { plan, bytes } = await restore(cluster, client, target, { account, told: start.told, check });
      recovery = { timeline: plan.timeline, target };
      restoredBytes = bytes;
      clock.lap("fetch");
    }
    if (!(await start.isLeased)) throw new NotStarted("lease_over", "the control plane has not granted its lease");
    clock.lap("lease");
    let postmaster = running ?? (await this.#launch(order, cluster, recovery));
    clock.lap("spawn");
    const address = await this.#reachedAt(order, postmaster);
    const [told, verifier] = [group.tell(address), group.verifier()];
    try {
      const ready = await this.#untilReady(order, cluster, postmaster, recovery);
      const { connection } = ready;
      postmaster = ready.postmaster;
      clock.lap("recovery");
      await setReplicationVerifier(connection, await verifier);
      await told;
      const first = decision.do === "recover" ? promised.source : null;
      const isFollowed = await group.untilFollowed(connection, this.#startTimeoutMs, first);
      clock.lap("follow");
      if (!isFollowed) {
        connection.end();
        await postmaster.stopAtOnce();
        return null;
      }
      await nameDatabase(connection, order.naming);
      await setReader(postmaster, order.reader ?? null, order.naming);
      clock.lap("roles");
      // Not waited for: until then a crash right after a restore means another restore.
      if (recovery) connection.send("CHECKPOINT");
      connection.end();
      void cluster.settle().catch((error: Error) => this.#options.log(`${order.database}: ${error.message}`));
      const ended = this.#lookAfter(order, postmaster, group, address);
      const isCopy = recovery !== null && decision.do === "create";
      const copied = { rung: restoreRung(restoredBytes), why: "it begins as another database was" };
      const { rung, why } = isCopy ? copied : decision;
      const { olderUntil } = promised;
      const { certificate } = address;
      return { rung, why, phases: clock.phases, postmaster, restoredBytes, olderUntil, certificate, ended };
    } catch (error) {
      await postmaster.stopAtOnce().catch(() => {});
      throw meetsDamage(error) ? new Damaged(`${error.severity}: ${error.message}`) : error;
    }
  }

  async #launch(order: StartOrder, cluster: Cluster, recovery: Recovery | null): Promise<Postmaster> {
    const { account } = this.#options;
    const installation = await this.#ofMajor(await majorOf(cluster.pgdata));
    const place = await placeOf(cluster, order.listen.port, this.#options.account);
    const isEncrypted = (await makeCertificate(cluster, order.listen.host)) !== null;
    const settings = configuration({
      ...{ database: order.database, term: order.term, profile: order.profile, major: installation.major },
      ...{ listen: order.listen, socketFolder: place.socketFolder, folder: cluster.folder },
      ...{ keepers: order.keepers.map(({ name }) => name), quorum: order.quorum, recovery, isEncrypted },
    });
    await Promise.all([
      cluster.setMark({ opened: order.term, port: place.port }),
      cluster.write("postgresql.conf", settings),
      cluster.write("pg_hba.conf", hostRules(isEncrypted)),
      cluster.write("pg_ident.conf", identityMap(userInfo().username)),
      cluster.write("postgresql.log", ""),
    ]);
    const { configFile, logFile } = cluster;
    if (this.#renewals.get(order.database)?.term !== order.term) this.#renewals.delete(order.database);
    // Before it is there, so that no agent that dies in between leaves a writer without an end.
    await this.#grant(order.database, null);
    const postmaster = await Postmaster.start(installation, place, {
      ...{ configFile, logFile, account, limits: PROFILES[order.profile] },
      folders: [cluster.folder, place.socketFolder],
    });
    if (installation.image === undefined) this.#hold(order, postmaster);
    await this.#grant(order.database, postmaster.pid);
    return postmaster;
  }

  /** Not waited for: PostgreSQL starts meanwhile. */
  #hold({ database, profile }: StartOrder, { pid, place }: Postmaster): void {
    const held = this.#options.limits?.hold(database, pid.pid, place.pgdata, profile) ?? Promise.resolve(null);
    void held
      .catch((error: Error) => error.message)
      .then((why) => why !== null && this.#options.log(`${database}: its limits are not enforced: ${why}`));
  }

  /** Others than the one of new databases are looked for when they are needed, and again when none of them fits any more. */
  async #ofMajor(major: number | null): Promise<Installation> {
    const chosen = this.#options.installation();
    const fits = (each: Installation) => each.major === major && isThere(each);
    if (![chosen, ...this.#others].some(fits)) this.#others = (await this.#options.installations?.()) ?? [];
    return ofMajor(major, [chosen, ...this.#others].filter(isThere));
  }

  /** The one that is ready is another one where the first met the end of the log before the moment that was asked for. */
  async #untilReady(
    order: StartOrder,
    cluster: Cluster,
    postmaster: Postmaster,
    recovery: Recovery | null,
  ): Promise<{ postmaster: Postmaster; connection: Connection }> {
    try {
      return { postmaster, connection: await postmaster.ready(this.#startTimeoutMs) };
    } catch (error) {
      const tail = (await readFile(cluster.logFile, "utf8").catch(() => "")).slice(-4000);
      // Nothing was committed between the last commit and the moment that was asked for: the end of the log is that moment.
      const isPastEnd = tail.includes("recovery ended before configured recovery target was reached");
      if (isPastEnd && recovery?.target && "time" in recovery.target) {
        const again = await this.#launch(order, cluster, { ...recovery, target: null });
        return this.#untilReady(order, cluster, again, null).catch(async (failure: unknown) => {
          await again.stopAtOnce().catch(() => {});
          throw failure;
        });
      }
      if (meetsDamage(error)) throw error;
      const said = lastComplaint(tail);
      if (said !== null && saysDamage(said)) throw new Damaged(said.message);
      throw new NotStarted("failed", said?.message ?? (error as Error).message);
    }
  }

  async #grant(database: string, postmaster: Pid | null): Promise<void> {
    const renewal = this.#renewals.get(database);
    if (renewal === undefined) return;
    const { pgdata } = this.cluster(database);
    const lease = leaseOf({ database, term: renewal.term, pgdata, postmaster }, renewal);
    if (isOver(lease, thisMoment())) throw new NotStarted("lease_over", "the lease of the writer is over");
    await this.#leases.grant(lease);
    await keepWatch(this.#options.root);
  }

  async #reachedAt({ database, listen: { host } }: StartOrder, { place: { port } }: Postmaster): Promise<WriterPlace> {
    return { host, port, certificate: await certificateOf(this.cluster(database), host) };
  }

  #lookAfter(
    { database, term }: StartOrder,
    postmaster: Postmaster,
    group: KeeperGroup,
    address: WriterPlace,
  ): Promise<void> {
    this.#leave(database);
    const { logFile } = this.cluster(database);
    const noted = (notes: Note[]) => this.#options.noted?.(database, term, notes);
    const restorable = (since: number) => this.#options.restorable?.(database, term, since);
    const attendance = new Attendance({ postmaster, group, address, logFile, noted, restorable });
    this.#attendances.set(database, attendance);
    return attendance.ended;
  }

  #leave(database: string): void {
    this.#attendances.get(database)?.stop();
    this.#attendances.delete(database);
  }

  get #startTimeoutMs(): number {
    return this.#options.startTimeoutMs ?? START_TIMEOUT_MS;
  }
}

/** What one start has to do with. */
type Start = {
  order: StartOrder;
  isLeased: Promise<boolean>;
  told: (progress: string) => void;
  cluster: Cluster;
  group: KeeperGroup;
  promised: Promised;
  running: Postmaster | null;
  clock: Stopwatch;
};

/** For a host that no other could take the place of. */
const unleased = Promise.resolve(true);
const unasked: Promised = { answers: [], source: null, kept: null, failures: [], olderUntil: 0 };
