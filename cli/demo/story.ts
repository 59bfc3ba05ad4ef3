import { Failure, Interrupted } from "../failure.ts";
import { Progress } from "../progress.ts";
import { table } from "../table.ts";
import type { Terminal } from "../terminal.ts";

type Told = { title: string; held: string; ms: number };

/** Steps told one after the other, each with what it showed and how long it took. The first that does not hold ends the story. */
export class Story {
  readonly #terminal: Terminal;
  readonly #signal: AbortSignal;
  readonly #told: Told[] = [];
  /** What helps to understand a failure: events and logs. */
  evidence: () => Promise<string[]> = async () => [];

  constructor(terminal: Terminal, signal: AbortSignal) {
    this.#terminal = terminal;
    this.#signal = signal;
  }

  /** `work` answers what has been shown, and throws when it does not hold; `tell` changes the line that is shown meanwhile. */
  async step(title: string, work: (tell: (text: string) => void) => Promise<string>): Promise<void> {
    const { color, live, out } = this.#terminal;
    const progress = new Progress(this.#terminal);
    const tell = (text: string) => live !== null && progress.update(`${title}: ${text}`);
    const started = performance.now();
    if (live !== null) progress.update(title);
    try {
      const held = await work(tell);
      const ms = performance.now() - started;
      progress.clear();
      this.#told.push({ title, held, ms });
      out(`${color.green("✓")} ${color.bold(title)} ${color.dim(seconds(ms))}\n  ${held}\n`);
    } catch (error) {
      progress.clear();
      if (this.#signal.aborted || error instanceof Interrupted) throw new Interrupted();
      out(`${color.red("✗")} ${color.bold(title)} ${color.dim(seconds(performance.now() - started))}\n`);
      const cause =
        error instanceof Failure ? [error.message, ...error.details] : [(error as Error)?.stack ?? String(error)];
      const evidence = await this.evidence().catch(() => []);
      throw new Failure(`step ${this.#told.length + 1} of the demo does not hold: ${title}`, {
        details: [...cause, ...evidence],
        cause: error,
      });
    }
  }

  /** What was verified, as a table. */
  summary(): string {
    const { width, color } = this.#terminal;
    const total = this.#told.reduce((sum, one) => sum + one.ms, 0);
    return table<Told>(
      [
        { title: "verified", value: (one) => one.title, shrink: 30 },
        { title: "time", value: (one) => seconds(one.ms), align: "right" },
      ],
      [...this.#told, { title: "all of it", held: "", ms: total }],
      width,
      color,
    );
  }
}

export const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`;
