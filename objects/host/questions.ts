type Open = { chunk: (data: unknown) => void; end: (error: { code: string; message: string } | null) => void };

/** Questions to the agent that are not answered yet. In memory only: a caller whose question is lost with the object asks again. */
export class Questions {
  readonly #open = new Map<string, Open>();
  #last = 0;

  /** Answers the op under which the agent will answer, and what it answers as a stream of its chunks. */
  begin(onCancel: (op: string) => void): { op: string; answer: ReadableStream<unknown> } {
    this.#last += 1;
    const op = `${Date.now().toString(36)}-${this.#last}`;
    const open = this.#open;
    const answer = new ReadableStream<unknown>({
      start(controller) {
        open.set(op, {
          chunk: (data) => controller.enqueue(data),
          end: (error) => (error ? controller.error(new QuestionError(error.code, error.message)) : controller.close()),
        });
      },
      cancel() {
        if (open.delete(op)) onCancel(op);
      },
    });
    return { op, answer };
  }

  chunk(op: string, data: unknown): void {
    this.#open.get(op)?.chunk(data);
  }

  end(op: string, error: { code: string; message: string } | null): void {
    const question = this.#open.get(op);
    this.#open.delete(op);
    question?.end(error);
  }

  /** The link is gone: whoever waits is told so. */
  endAll(message: string): void {
    for (const op of [...this.#open.keys()]) this.end(op, { code: "host_unavailable", message });
  }
}

export class QuestionError extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}
