import type { EngineHealth, ReplicationState } from "../../contract/engine.ts";
import type { ReplicaOptions } from "./replica-options.ts";

export type Reason = NonNullable<EngineHealth["replication"]["reason"]>;

const ASLEEP = { code: "source_asleep", message: "the source sleeps; it is followed again when it wakes" };

/** Whether the source is followed, and if it is not, why. */
export class Standing {
  state: ReplicationState = "starting";
  reason: Reason | null;
  isPaused = false;
  isAsleep = false;
  /** In what the source has become another than was built from. */
  drifted: Reason | null = null;
  /** Ends the stream, or the wait for the next one. */
  #current = new AbortController();
  readonly #log: ReplicaOptions["log"];

  constructor({ source, log }: Pick<ReplicaOptions, "source" | "log">) {
    this.reason = source.reason;
    this.#log = log;
  }

  /** Nothing of the source is to change the rows now. */
  get isStill(): boolean {
    return this.isPaused || this.isAsleep || this.drifted !== null;
  }

  /** For what is done next: until something else is to be done. */
  begin(): AbortSignal {
    this.#current = new AbortController();
    return this.#current.signal;
  }

  interrupt(): void {
    this.#current.abort();
  }

  become(state: ReplicationState, reason: Reason | null = null): void {
    if (this.isPaused && state !== "paused") return;
    if (this.isAsleep && state !== "paused" && state !== "asleep") return;
    if (this.state !== state) this.#log("info", `replication: ${state}${reason ? ` (${reason.code})` : ""}`);
    this.state = state;
    this.reason = reason;
  }

  pause(): void {
    this.isPaused = true;
    this.become("paused");
    this.interrupt();
  }

  resume(): void {
    if (!this.isPaused) return;
    this.isPaused = false;
    if (this.isAsleep) this.become("asleep", ASLEEP);
    else this.goOn();
    this.interrupt();
  }

  sleep(): void {
    this.become("asleep", ASLEEP);
  }

  goOn(): void {
    this.become(this.drifted === null ? "catching_up" : "drifted", this.drifted);
  }

  drift(reason: Reason): void {
    this.drifted = reason;
    this.become("drifted", reason);
    this.interrupt();
  }

  /** What became of it at the source is said beside why. */
  driftedAndLeft({ code, message }: Reason, left: string): void {
    if (this.drifted !== null) this.become("drifted", { code, message: `${message}; ${left}` });
  }
}
