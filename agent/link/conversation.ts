import type { AgentBody, ControlBody, Question } from "../../contract/frame.ts";
import type { Workload } from "../../contract/workload.ts";

/** Sends a frame to the control plane; resolves when there is room for the next. */
export type Emit = (body: AgentBody) => Promise<void>;

export type Hearing = {
  accept: (workloads: readonly Workload[]) => void;
  acceptAll: (revision: number, workloads: readonly Workload[]) => void;
  answer: (op: string, question: Question, emit: Emit, abort: AbortSignal) => Promise<void>;
  renewed: (renewed: Extract<ControlBody, { kind: "renewed" }>) => void;
  dismissed: () => void;
};

const QUESTIONS_AT_ONCE = 64;

/** Understands what the control plane says over one connection, whichever way the frames come. They have been verified already. */
export class Conversation {
  readonly #hearing: Hearing;
  readonly #questions = new Map<string, AbortController>();
  /** A full set of which the last part has not come yet. */
  #gathering: { revision: number; workloads: Map<string, Workload> } | null = null;

  constructor(hearing: Hearing) {
    this.#hearing = hearing;
  }

  /** Takes in one frame. Resolves when it is done with: for a question when it is answered. */
  async hear(body: ControlBody, emit: Emit): Promise<void> {
    switch (body.kind) {
      case "desired": {
        if (this.#gathering?.revision !== body.revision)
          this.#gathering = { revision: body.revision, workloads: new Map() };
        for (const workload of body.workloads) this.#gathering.workloads.set(workload.id, workload);
        if (!body.last) return;
        const { revision, workloads } = this.#gathering;
        this.#gathering = null;
        this.#hearing.acceptAll(revision, [...workloads.values()]);
        return;
      }
      case "apply":
        // It is newer than the parts of the full set that are still to come, which must not send it away.
        if (this.#gathering)
          for (const workload of body.workloads) this.#gathering.workloads.set(workload.id, workload);
        this.#hearing.accept(body.workloads);
        return;
      case "renewed":
        this.#hearing.renewed(body);
        return;
      case "ask":
        return this.#answer(body.op, body.question, emit);
      case "cancel":
        this.#questions.get(body.op)?.abort();
        return;
      case "dismiss":
        this.#hearing.dismissed();
        return;
      case "challenge":
      case "ok":
        return;
    }
  }

  /** The connection is over: nobody waits for the answers any more, and what was half said counts for nothing. */
  end(): void {
    this.#gathering = null;
    for (const abort of this.#questions.values()) abort.abort();
    this.#questions.clear();
  }

  async #answer(op: string, question: Question, emit: Emit): Promise<void> {
    if (this.#questions.has(op)) return;
    if (this.#questions.size >= QUESTIONS_AT_ONCE) {
      const error = { code: "overloaded", message: `The agent answers ${QUESTIONS_AT_ONCE} questions at a time.` };
      return emit({ kind: "end", op, error });
    }
    const abort = new AbortController();
    this.#questions.set(op, abort);
    try {
      await this.#hearing.answer(op, question, emit, abort.signal);
    } finally {
      if (this.#questions.get(op) === abort) this.#questions.delete(op);
    }
  }
}
