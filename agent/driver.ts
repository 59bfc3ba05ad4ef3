import type { ReaderOrder } from "../contract/database-reader.ts";
import type { LogQuery } from "../contract/frame.ts";
import type { ExecResult, InstanceStats, LogLine, Observation, Runtime, Workload } from "../contract/workload.ts";

/** The runtime itself did not answer: nothing is known of what was asked. */
export class RuntimeSilent extends Error {}

/** How this host reaches the ports of instances: at their own addresses, or only through the ports that are published under this name. */
export type Reach = { own: true } | { own: false; host: string };

/** What a driver found on the host when the agent started: one thing that runs, or ran, and carries our marks. */
export type Found = { id: string; generation: number; owner: string; observation: Observation };

/**
 * One kind of runtime on this host. A driver knows how to make one generation of one workload be there or not be there, and tells what it
 * sees; it decides nothing: the fence, the order of commands and what should run belong to the agent's reconciler, which never calls two
 * methods for the same workload at a time.
 */
export interface Driver {
  readonly runtime: Runtime;

  /** The runtime's version when it can be used now, null when it cannot. Cheap; asked again now and then. */
  detect(): Promise<string | null>;

  /**
   * Starts watching and answers everything on the host that carries this host's marks, whatever its state. From then on each change is
   * told through `observe`, at least once, also those that happened while the agent was dead or the runtime's event stream was cut.
   */
  start(observe: (observation: Observation) => void): Promise<Found[]>;

  /**
   * Makes this generation be there: idempotent, safe to repeat after a crash at any point. What already runs at this generation is left
   * alone; what already exited at this generation is *not* run again. Older generations of the workload have been removed before.
   * Answers what is there now: `running`, `exited` or `failed`. Reports `preparing` through `observe` on the way when it takes long (a pull).
   * @param signal aborted when the workload is no longer wanted; then it may answer at once, leaving what `remove` will clear.
   */
  apply(workload: Workload, signal: AbortSignal): Promise<Observation>;

  /** Stops and removes one generation: SIGTERM, `stopTimeoutMs`, SIGKILL, then every trace. Succeeds when nothing is there. */
  remove(id: string, generation: number, stopTimeoutMs: number): Promise<void>;

  /**
   * Every generation of the workload was removed and none is to come: deletes what was kept beyond them (the logs of older generations).
   * A driver that keeps nothing does not need it.
   */
  forget?(id: string): Promise<void>;

  /** Lines of one workload, oldest first, in batches; with `follow` it goes on until `signal` aborts or the instance is removed. */
  logs(query: LogQuery, signal: AbortSignal): AsyncIterable<LogLine[]>;

  /**
   * Runs a command beside the workload's program (in its container, or as its user and in its folder). `exit_code` is null when it was not over
   * in time. Throws `RuntimeSilent` when the runtime could not be asked.
   */
  exec(id: string, generation: number, command: string[], timeoutMs: number): Promise<ExecResult>;

  /** Of writers of databases: stops it if no client is connected. Answers how many are, and whatever else should not be cut off. */
  stopUnused?(id: string, generation: number): Promise<number>;

  /** Of writers of databases: stops all of them in good order, and tells of it. */
  stopWriters?(): Promise<void>;

  /** Of writers of databases: gives the running one another verifier for its owner. */
  install?(id: string, generation: number, credential: string, verifier: string): Promise<void>;

  /** Of writers of databases: gives the running one another role of readers, or (null) none. */
  setReader?(id: string, generation: number, reader: ReaderOrder | null): Promise<void>;

  /** Left out: instances are reached at their own addresses. */
  reach?(): Promise<Reach>;

  /**
   * Present use of those of the workloads that run here.
   * @param reader CPU use is counted since this reader's last reading, so that readers do not shorten each other's time
   */
  stats(ids: string[], reader?: string): Promise<InstanceStats[]>;

  /** Stops watching. Leaves every workload running. */
  close(): Promise<void>;
}
