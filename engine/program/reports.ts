import { type EngineOrders, type Report, ReportAnswer, type ReportBody } from "../../contract/instance-report.ts";
import { Backoff, sleep } from "../replication/backoff.ts";
import type { Given } from "./environment.ts";

const ANSWERED_WITHIN_MS = 30_000;

/** Nobody waits for this program any more. */
export class NotAwaited extends Error {}

/** What a program says to the control plane: one report after the other, each until it is answered. */
export class Reports {
  readonly #given: Given;
  readonly #ended = new AbortController();
  #last: Promise<unknown> = Promise.resolve();

  constructor(given: Given) {
    this.#given = given;
  }

  /** Resolves with the orders of the answer. Fails with `NotAwaited` when they are for nobody, or when it was ended. */
  send(body: ReportBody): Promise<EngineOrders> {
    const sent = this.#last.then(() => this.#insist(body));
    this.#last = sent.catch(() => undefined);
    return sent;
  }

  /** Whatever waits is given up. */
  end(): void {
    this.#ended.abort();
  }

  async #insist(body: ReportBody): Promise<EngineOrders> {
    const { task, workload } = this.#given;
    const { id: workload_id, generation } = workload;
    const text = JSON.stringify({ workload_id, generation, operation: task.operation, body } satisfies Report);
    const backoff = new Backoff(200, 5000);
    for (;;) {
      if (this.#ended.signal.aborted) throw new NotAwaited("it ends");
      const said = await this.#post(text).catch((error: Error) => ({ status: 0, text: String(error.cause ?? error) }));
      if (said.status === 200) return ReportAnswer.parse(JSON.parse(said.text)).orders;
      if (said.status === 409 || said.status === 404) throw new NotAwaited(`${body.kind}: ${said.status} ${said.text}`);
      // Not understood, and it would not be the next time.
      if ([400, 413, 422].includes(said.status))
        throw new Error(`${body.kind} was refused: ${said.status} ${said.text.slice(0, 500)}`);
      console.error(`${body.kind} is said again: ${said.status} ${said.text.slice(0, 200)}`);
      await sleep(backoff.next(), this.#ended.signal);
    }
  }

  async #post(body: string): Promise<{ status: number; text: string }> {
    const { url, token } = this.#given.reports;
    const response = await fetch(url, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body,
      signal: AbortSignal.any([this.#ended.signal, AbortSignal.timeout(ANSWERED_WITHIN_MS)]),
    });
    return { status: response.status, text: await response.text() };
  }
}
