import { rm } from "node:fs/promises";
import { type EngineHealth, EXIT_OUT_OF_MEMORY } from "../../contract/engine.ts";
import type { EngineOrders, ReportBody } from "../../contract/instance-report.ts";
import { sleep } from "../replication/backoff.ts";
import { artifactHere, NoArtifact } from "./artifact.ts";
import { type End, EngineChild } from "./child.ts";
import { type Given, ordersSocket, sourceOf, type TaskOf } from "./environment.ts";
import { listenForOrders, Orders } from "./orders.ts";
import { NotAwaited, Reports } from "./reports.ts";
import { settingsOf } from "./settings.ts";
import { driftReport, loadedReport, vitalsOf } from "./vitals.ts";

/** How often the engine is looked at until it serves, and then, ms. */
const LOOKS_AT_FIRST_MS = 100;
const LOOKS_MS = 500;
const VITALS_EVERY_MS = 5_000;
const PROGRESS_EVERY_MS = 2_000;
/** For what is said last, whether the control plane answers or not, ms. */
const LAST_WORDS_MS = 5_000;
const RELEASE_WITHIN_MS = 2_000;

/** Runs an engine, says how it is, and does what it is told. Resolves with how it itself should end. */
export async function serve(given: Given, task: TaskOf<"serve">, reports: Reports): Promise<End> {
  const { keySecret } = given;
  if (keySecret === null || given.port === null) throw new Error("an engine wants a secret for its keys, and a port");
  let artifact: string;
  try {
    artifact = await artifactHere(given, task.artifact);
  } catch (error) {
    if (!(error instanceof NoArtifact)) throw error;
    await reports.send({ kind: "failed", code: "image_missing", message: error.message });
    return { code: 1, signal: null };
  }
  const engine = await EngineChild.start(artifact, settingsOf(given, task, keySecret));
  const serving = new Serving(engine, new Orders(engine, keySecret, task.orders), reports);
  const server = await listenForOrders(given, (orders) => serving.told(orders));
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => serving.stop());
  const end = await serving.run();
  server.close();
  await Promise.all([engine.forgetSettings(), rm(ordersSocket(given), { force: true })]);
  if (serving.isStopped) await release(given, task, serving.source);
  return end;
}

/** One engine that runs, from its start to its end. */
class Serving {
  readonly #engine: EngineChild;
  readonly #orders: Orders;
  readonly #reports: Reports;
  readonly #stopped = new AbortController();
  #nudge = new AbortController();
  #hasLoaded = false;
  /** How often it was told something by another way than as an answer. */
  #tellings = 0;
  #said = { progress: "", vitalsAt: 0, progressAt: 0, replication: "", drift: "", resyncs: 0 };

  constructor(engine: EngineChild, orders: Orders, reports: Reports) {
    this.#engine = engine;
    this.#orders = orders;
    this.#reports = reports;
    void engine.ended.then(() => this.#nudge.abort());
  }

  /** Where a source that moves is, as was said last. */
  get source(): EngineOrders["source"] {
    return this.#orders.wanted.source;
  }

  get isStopped(): boolean {
    return this.#stopped.signal.aborted;
  }

  stop(): void {
    this.#stopped.abort();
    this.#reports.end();
    this.#nudge.abort();
  }

  async told(orders: Parameters<Orders["obey"]>[0]): Promise<void> {
    this.#tellings++;
    await this.#orders.obey(orders);
    // What came of it is said at once.
    this.#said.vitalsAt = 0;
    this.#nudge.abort();
  }

  async run(): Promise<End> {
    void this.#watch().catch((error: unknown) => {
      if (!this.isStopped) console.error(`nobody waits for this engine any more: ${(error as Error).message}`);
      this.stop();
    });
    const stopped = new Promise<void>((resolve) =>
      this.#stopped.signal.addEventListener("abort", () => resolve(), { once: true }),
    );
    await Promise.race([this.#engine.ended, stopped]);
    if (this.isStopped) {
      await this.#engine.stop();
      return { code: 0, signal: null };
    }
    return this.#ended(await this.#engine.ended);
  }

  /** It ended by itself. Its host sees what is out of memory; what else was wrong is said. */
  async #ended({ code, signal }: End): Promise<End> {
    // V8 gives up so when it has no more heap.
    if (code === EXIT_OUT_OF_MEMORY || signal === "SIGABRT") return { code: EXIT_OUT_OF_MEMORY, signal: null };
    const complaint = this.#engine.complaint;
    if (code !== 0 && signal === null && complaint?.code) {
      const failed = { kind: "failed", code: complaint.code, message: complaint.text.slice(0, 4000) } as const;
      await Promise.race([this.#reports.send(failed).catch(() => undefined), wait(LAST_WORDS_MS)]);
    }
    return { code, signal };
  }

  async #watch(): Promise<void> {
    while (!this.isStopped && !this.#engine.hasEnded) {
      const health = await this.#engine.health();
      if (!this.#hasLoaded) await this.#watchLoad(health);
      else if (health !== null) await this.#watchServing(health);
      await sleep(this.#hasLoaded ? LOOKS_MS : LOOKS_AT_FIRST_MS, this.#nudge.signal);
      if (this.#nudge.signal.aborted) this.#nudge = new AbortController();
    }
  }

  async #watchLoad(health: EngineHealth | null): Promise<void> {
    if (health?.state === "serving") {
      await this.#say(loadedReport(health));
      this.#hasLoaded = true;
      await this.#orders.ready();
      return;
    }
    const now = Date.now();
    const message = health === null ? (this.#engine.complaint?.text ?? "") : loadText(health);
    if (message === "" || message === this.#said.progress || now - this.#said.progressAt < PROGRESS_EVERY_MS) return;
    this.#said.progress = message;
    this.#said.progressAt = now;
    await this.#say({ kind: "progress", message: message.slice(0, 4000) });
  }

  async #watchServing(health: EngineHealth): Promise<void> {
    const said = this.#said;
    const drift = driftReport(health);
    if (drift.schema_hash !== said.drift) {
      said.drift = drift.schema_hash;
      await this.#say(drift);
    }
    const vitals = vitalsOf(health);
    const { resyncs } = health.replication;
    // A gap is told of also when it was closed between two looks.
    if (resyncs > said.resyncs && vitals.replication !== "resyncing" && said.replication !== "resyncing")
      await this.#say({ kind: "vitals", vitals: { ...vitals, replication: "resyncing" } });
    said.resyncs = resyncs;
    if (vitals.replication === said.replication && Date.now() - said.vitalsAt < VITALS_EVERY_MS) return;
    said.replication = vitals.replication;
    said.vitalsAt = Date.now();
    await this.#say({ kind: "vitals", vitals });
  }

  /** The answer says what it should be, unless it was told otherwise meanwhile. What is not understood there harms no query. */
  async #say(body: ReportBody): Promise<void> {
    const tellings = this.#tellings;
    try {
      const orders = await this.#reports.send(body);
      if (tellings === this.#tellings) await this.#orders.obey(orders);
    } catch (error) {
      if (error instanceof NotAwaited) throw error;
      console.error((error as Error).message);
    }
  }
}

const loadText = ({ load }: EngineHealth): string =>
  `loading${load.table === null ? "" : ` ${load.table}`}: ${load.tables_done} of ${load.tables} tables, ${load.rows} rows`;

/** What no engine of the instance uses at its source any more is taken away there; that nothing is left is said, so that nobody else looks. */
async function release(given: Given, task: TaskOf<"serve">, standing: EngineOrders["source"]): Promise<void> {
  // One that sleeps has been left in order, or is put in order when it is awake.
  if (standing?.at === null) return;
  const source = { ...sourceOf(given, task.schema), ...standing?.at };
  if (source.kind !== "postgres") return;
  const { releaseUnused } = await import("../source/postgres/traces.ts");
  const reports = new Reports(given);
  const done = releaseUnused(source, task.instance_id)
    .then((left) => (left === null ? null : reports.send({ kind: "released", left })))
    .catch((error: Error) => console.error(`something may stay at the source: ${error.message}`));
  await Promise.race([done, wait(RELEASE_WITHIN_MS)]);
  reports.end();
}

const wait = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));
