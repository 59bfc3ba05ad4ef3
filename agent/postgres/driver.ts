import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { ReaderOrder } from "../../contract/database-reader.ts";
import type { LogQuery } from "../../contract/frame.ts";
import type { ExecResult, InstanceStats, LogLine, Note, Observation, Workload } from "../../contract/workload.ts";
import type { WriterTask } from "../../contract/writer-task.ts";
import type { Connection } from "../../postgres/connection.ts";
import { type Driver, type Found, RuntimeSilent } from "../driver.ts";
import { levelOf } from "../level.ts";
import { type PortRange, Ports } from "../process/port.ts";
import { reachableFolder } from "../reachable-folder.ts";
import { databaseAccount } from "./account.ts";
import { type Installation, isThere } from "./binaries.ts";
import { allInstallations, chosenInstallation, type NamedInstallations } from "./chosen-installation.ts";
import { writeDurably } from "./cluster.ts";
import { KeeperClient } from "./keeper-client.ts";
import { exited, KeptWriter, running } from "./kept-writer.ts";
import { WriterLimits } from "./limits.ts";
import { NotStarted } from "./not-started.ts";
import type { Postmaster } from "./postmaster.ts";
import { setReader } from "./reader.ts";
import type { Renewals } from "./renewals.ts";
import { nameDatabase } from "./roles.ts";
import { Template } from "./template.ts";
import { endWatch } from "./watchdog.ts";
import { type StartOrder, Writers } from "./writer.ts";

export type PostgresDriverOptions = {
  dataDir: string;
  log: (line: string) => void;
  /** Where others reach the writers of this host. */
  advertiseAddress: string;
  portRange?: PortRange | undefined;
  renewals: Renewals;
  named?: NamedInstallations | undefined;
};

/** Above those that processes and the endpoints of instances get, below those that the kernel gives to connections. */
const PORTS: PortRange = { from: 31_000, to: 32_767 };
/** A writer is not started before the control plane has granted its lease. */
const LEASE_WITHIN_MS = 15_000;

/** The writers of databases: a workload each, whose generation is its term. What is removed is the writer; its data folder stays, as a copy. */
export class PostgresDriver implements Driver {
  readonly runtime = "postgres" as const;
  readonly #options: PostgresDriverOptions;
  /** Known once PostgreSQL was looked for. */
  #root = "";
  readonly #ports: Ports;
  /** By workload id; what is done for one of them is done one after the other. */
  readonly #turns = new Map<string, Promise<unknown>>();
  readonly #kept = new Map<string, KeptWriter>();
  /** Those that are on their way: a restore may take longer than a lease lasts. */
  readonly #starting = new Map<string, StartOrder>();
  #installation: Installation | null = null;
  #writers: Promise<Writers> | null = null;
  #limits: WriterLimits | null = null;
  #observe: (observation: Observation) => void = () => {};

  constructor(options: PostgresDriverOptions) {
    this.#options = options;
    this.#ports = new Ports(options.portRange ?? PORTS);
    options.renewals.serve({
      renew: async (database, term, renewal) => (await this.#open()).renew(database, term, renewal),
      keptBy: (id, term) =>
        [this.#kept.get(id)?.order, this.#starting.get(id)].find((order) => order?.term === term) ?? null,
    });
  }

  async detect(): Promise<string | null> {
    const known = this.#installation;
    if (known !== null && isThere(known)) return known.version;
    this.#root = await reachableFolder(this.#options.dataDir, "postgres", await databaseAccount());
    const found = await chosenInstallation(this.#options.named ?? {}, this.#root);
    if (typeof found === "string") throw new RuntimeSilent(found);
    this.#installation = found;
    return found.version;
  }

  async start(observe: (observation: Observation) => void): Promise<Found[]> {
    this.#observe = observe;
    const writers = await this.#open();
    const folders = await readdir(join(this.#root, "clusters")).catch(() => []);
    const found: Found[] = [];
    for (const database of folders) {
      const kept = await this.#read(database);
      if (kept === null || !(await writers.running(kept.order))) continue;
      this.#kept.set(kept.id, kept);
      this.#ports.hold(kept.order.listen.port, database);
      this.#options.renewals.adopt(kept.id, kept.generation, database);
      found.push({ id: kept.id, generation: kept.generation, owner: kept.owner, observation: running(kept) });
      void this.#turn(kept.id, () => this.#attend(writers, kept)).catch(() => {});
    }
    return found;
  }

  apply(workload: Workload, signal: AbortSignal): Promise<Observation> {
    return this.#turn(workload.id, async () => {
      const { id, generation, spec, owner } = workload;
      const task = spec.writer;
      if (task === undefined) return failed(workload, "failed", "it is not said what its writer is to do");
      const writers = await this.#open();
      if (task.purpose === "discard") return this.#discard(writers, workload, task);
      const { renewals } = this.#options;
      renewals.add(id, generation, task.database);
      try {
        // It comes while the keepers are asked for their promise.
        const isLeased = renewals.granted(id, generation, LEASE_WITHIN_MS, signal);
        const order = await this.#order(writers, workload, task);
        this.#starting.set(id, order);
        const { rung, why, damage, phases, restoredBytes, postmaster, olderUntil, certificate, ended } =
          await writers.start(order, isLeased, (message) =>
            this.#observe({ id, generation, at: Date.now(), phase: "preparing", message }),
          );
        const listen = { ...order.listen, port: postmaster.place.port };
        const [credential, reader] = [task.credential, task.reader?.credential ?? null];
        const older_lease_ms = Math.max(0, Math.ceil(olderUntil - performance.now()));
        const start = {
          rung,
          why,
          damage,
          phases,
          restored_bytes: restoredBytes,
          older_lease_ms,
          certificate,
          credential,
          reader,
        };
        const kept: KeptWriter = { id, generation, owner, order: { ...order, listen }, started_at: Date.now(), start };
        await this.#write(writers, kept);
        this.#watch(kept, ended);
        return running(kept);
      } catch (error) {
        renewals.drop(id, generation);
        if (error instanceof NotStarted) return failed(workload, error.code, error.message);
        throw error;
      } finally {
        this.#starting.delete(id);
      }
    });
  }

  remove(id: string, generation: number): Promise<void> {
    return this.#turn(id, async () => {
      this.#options.renewals.drop(id, generation);
      const kept = this.#kept.get(id);
      if (kept === undefined || kept.generation !== generation) return;
      const writers = await this.#open();
      await writers.stop(kept.order).catch((error: Error) => {
        // A later one took its place, and has seen to it.
        if (!(error instanceof NotStarted)) throw error;
      });
      await this.#limits?.release(kept.order.database).catch(() => {});
      this.#kept.delete(id);
      this.#ports.release(kept.order.database);
      await rm(this.#pathOf(kept.order.database), { force: true });
    });
  }

  stopUnused(id: string, generation: number): Promise<number> {
    return this.#turn(id, async () => {
      const clients = await (await this.#running(id, generation)).stopUnused();
      // Should the answer be lost, this says the same. What is left of it goes when it is said to go.
      if (clients === 0) this.#observe(exited(this.#kept.get(id) as KeptWriter, 0));
      return clients;
    });
  }

  async stopWriters(): Promise<void> {
    if (this.#kept.size === 0) return;
    const writers = await this.#open();
    const stop = (id: string) =>
      this.#turn(id, async () => {
        const kept = this.#kept.get(id);
        if (kept === undefined) return;
        await writers.stop(kept.order);
        this.#observe(exited(kept, 0));
      });
    // What cannot be stopped so ends with its lease.
    await Promise.allSettled([...this.#kept.keys()].map(stop));
  }

  /** Gives a running writer another verifier for its owner. Durable, and with the keepers, when it resolves. */
  install(id: string, generation: number, credential: string, verifier: string): Promise<void> {
    return this.#turn(id, async () => {
      const connection = await this.#connect(id, generation);
      const kept = this.#kept.get(id) as KeptWriter;
      const naming = { ...kept.order.naming, owner: { ...kept.order.naming.owner, verifier } };
      await nameDatabase(connection, naming).finally(() => connection.end());
      await this.#write(await this.#open(), {
        ...kept,
        order: { ...kept.order, naming },
        start: { ...kept.start, credential },
      });
    });
  }

  /** Gives a running writer another role of readers, or none. */
  setReader(id: string, generation: number, reader: ReaderOrder | null): Promise<void> {
    return this.#turn(id, async () => {
      const kept = this.#kept.get(id);
      const postmaster = await this.#running(id, generation);
      if (kept === undefined) return;
      await setReader(postmaster, reader, kept.order.naming);
      const start = { ...kept.start, reader: reader?.credential ?? null };
      await this.#write(await this.#open(), { ...kept, order: { ...kept.order, reader }, start });
    });
  }

  async *logs(query: LogQuery): AsyncIterable<LogLine[]> {
    const kept = this.#kept.get(query.workload_id);
    if (kept === undefined) return;
    const { logFile } = (await this.#open()).cluster(kept.order.database);
    const lines = (await readFile(logFile, "utf8").catch(() => "")).split("\n").filter(Boolean);
    const timestamp = new Date().toISOString();
    yield lines.slice(-(query.tail ?? lines.length)).map((message) => ({
      ...{ instance: query.workload_id, stream: "stderr" as const, message, level: levelOf(message), timestamp },
    }));
  }

  async exec(): Promise<ExecResult> {
    return { exit_code: null, stdout: "", stderr: "nothing can be run beside a database's writer", truncated: false };
  }

  async stats(): Promise<InstanceStats[]> {
    return [];
  }

  async close(): Promise<void> {
    (await this.#writers)?.close();
    // A start that is under way is about to need it.
    if (this.#turns.size === 0) await endWatch(this.#root);
  }

  /** The agent's own connection to a running writer. */
  async #connect(id: string, generation: number): Promise<Connection> {
    return (await this.#running(id, generation)).connect("postgres");
  }

  async #running(id: string, generation: number): Promise<Postmaster> {
    const kept = this.#kept.get(id);
    const postmaster = kept?.generation === generation ? await (await this.#open()).running(kept.order) : null;
    if (postmaster === null) throw new RuntimeSilent(`${id} does not run here under term ${generation}`);
    return postmaster;
  }

  /** Removes every trace of a database from this host, and from its keepers. */
  async #discard(writers: Writers, workload: Workload, task: WriterTask): Promise<Observation> {
    const order = await this.#order(writers, workload, task);
    const cluster = writers.cluster(task.database);
    if (cluster.mark().fence > workload.generation)
      return failed(workload, "stale_term", "this host was given a later term already");
    await (await writers.running(order))?.stopAtOnce();
    await cluster.remove();
    await this.#limits?.release(task.database).catch(() => {});
    this.#ports.release(task.database);
    for (const keeper of order.keepers) {
      const client = new KeeperClient(keeper, task.database);
      const gone = await client.forget(order.term).then(
        () => null,
        (error: Error & { code?: string }) => (error.code === "not_found" ? null : error),
      );
      if (gone !== null) return failed(workload, "keepers_unreachable", gone.message);
    }
    const { id, generation } = workload;
    const at = Date.now();
    const exit = { code: 0, signal: null, oom: false, at, evidence: "kept" as const };
    return { id, generation, at, phase: "exited", exit };
  }

  async #order(writers: Writers, { generation }: Workload, task: WriterTask): Promise<StartOrder> {
    const { purpose: _, credential: __, keepers: ___, keeper_addresses: keepers = [], ...rest } = task;
    const port = await this.#portFor(writers, task.database);
    const listen = { host: this.#options.advertiseAddress, port };
    const { replication_password = "" } = task;
    return { ...rest, keepers, replication_password, term: generation, listen };
  }

  /** The same as before while nobody else has it. */
  async #portFor(writers: Writers, database: string): Promise<number> {
    const { port } = writers.cluster(database).mark();
    if (port !== null && (await this.#ports.takeThis(port, "tcp", database))) return port;
    this.#ports.release(database);
    const free = await this.#ports.take(database);
    if (free === null) throw new Error("no port is free for another writer on this host");
    return free;
  }

  /** Takes up a writer that an earlier agent started. */
  async #attend(writers: Writers, kept: KeptWriter): Promise<void> {
    try {
      // It was ready once: keepers that are away now are no reason to end it.
      const attended = await writers.attend(kept.order);
      if (attended === null) throw new Error("its writer has ended");
      this.#watch(kept, attended.ended);
    } catch (error) {
      this.#options.log(`${kept.id}: ${(error as Error).message}`);
      this.#observe(exited(kept));
    }
  }

  #watch(kept: KeptWriter, ended: Promise<void>): void {
    void ended.then(async () => {
      const oom = (await this.#limits?.wasOutOfMemory(kept.order.database)) ?? false;
      if (this.#kept.get(kept.id)?.generation !== kept.generation) return;
      this.#options.renewals.drop(kept.id, kept.generation);
      this.#observe(exited(kept, null, oom));
    });
  }

  #noted(database: string, term: number, notes: Note[]): void {
    this.#tell(database, term, () => ({ noted: { at: Date.now(), notes } }));
  }

  #restorable(database: string, term: number, since: number): void {
    this.#tell(database, term, ({ start, noted }) =>
      start.restorable_since === since
        ? null
        : { start: { ...start, restorable_since: since }, noted: { notes: [], ...noted, at: Date.now() } },
    );
  }

  /** KeptWriter, so that an agent that is started anew does not say it otherwise. On a full disk that may fail. */
  #tell(database: string, term: number, news: (kept: KeptWriter) => Partial<KeptWriter> | null): void {
    const kept = [...this.#kept.values()].find(({ order }) => order.database === database);
    const changed = kept?.generation === term ? news(kept) : null;
    if (kept === undefined || changed === null) return;
    const now: KeptWriter = { ...kept, ...changed };
    this.#kept.set(kept.id, now);
    this.#observe(running(now));
    void this.#turn(kept.id, async () => {
      if (this.#kept.get(kept.id) === now) await this.#write(await this.#open(), now);
    }).catch(() => {});
  }

  #open(): Promise<Writers> {
    this.#writers ??= this.#prepare().catch((error: unknown) => {
      this.#writers = null;
      throw error;
    });
    return this.#writers;
  }

  async #prepare(): Promise<Writers> {
    await this.detect();
    const installation = () => this.#installation as Installation;
    const account = await databaseAccount();
    const template = new Template(this.#root, account);
    // Not waited for: the first database that needs it is.
    void template.prepare(installation()).catch((error: Error) => this.#options.log(`postgres: ${error.message}`));
    const installations = () => allInstallations(this.#options.named ?? {}, this.#root);
    const { log } = this.#options;
    const limits = await WriterLimits.find(this.#root);
    if (limits.unavailable !== "") log(`postgres: the limits of profiles are not enforced, ${limits.unavailable}`);
    this.#limits = limits;
    const [noted, restorable] = [this.#noted.bind(this), this.#restorable.bind(this)];
    const found = { root: this.#root, account, installation, installations, template, limits };
    return new Writers({ ...found, log, noted, restorable });
  }

  #pathOf(database: string): string {
    return join(this.#root, "clusters", database, "writer.json");
  }

  async #read(database: string): Promise<KeptWriter | null> {
    const text = await readFile(this.#pathOf(database), "utf8").catch(() => null);
    return text === null ? null : (KeptWriter.safeParse(JSON.parse(text)).data ?? null);
  }

  async #write(writers: Writers, kept: KeptWriter): Promise<void> {
    this.#kept.set(kept.id, kept);
    await writers.cluster(kept.order.database).make();
    await writeDurably(this.#pathOf(kept.order.database), `${JSON.stringify(kept)}\n`, 0o600);
  }

  #turn<T>(id: string, work: () => Promise<T>): Promise<T> {
    const done = (this.#turns.get(id) ?? Promise.resolve()).then(work, work);
    const settled = done.then(
      () => {},
      () => {},
    );
    this.#turns.set(id, settled);
    void settled.then(() => {
      if (this.#turns.get(id) === settled) this.#turns.delete(id);
    });
    return done;
  }
}

function failed({ id, generation }: Workload, reason: string, message: string): Observation {
  return { id, generation, at: Date.now(), phase: "failed", failure: { kind: "error", reason, message } };
}
