import { Failure, Interrupted } from "../failure.ts";
import { Progress } from "../progress.ts";
import { table } from "../table.ts";
import type { Terminal } from "../terminal.ts";

export type Tell = (text: string) => void;
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

  chapter(title: string): void {
    const { color, out } = this.#terminal;
    out(`\n${color.cyan(title)}\n`);
  }

  /** `work` answers what has been shown, and throws when it does not hold; `tell` changes the line that is shown meanwhile. */
  async step(title: string, work: (tell: Tell) => Promise<string>): Promise<void> {
    await this.stepFor(title, async (tell) => ({ held: await work(tell), value: null }));
  }

  /** A step that the others build on. */
  async stepFor<T>(title: string, work: (tell: Tell) => Promise<{ held: string; value: T }>): Promise<T> {
    const { color, live, out } = this.#terminal;
    const progress = new Progress(this.#terminal);
    const tell: Tell = (text) => live !== null && progress.update(`${title}: ${text}`);
    const started = performance.now();
    if (live !== null) progress.update(title);
    try {
      const { held, value } = await work(tell);
      const ms = performance.now() - started;
      progress.clear();
      this.#told.push({ title, held, ms });
      out(`${color.green("✓")} ${color.bold(title)} ${color.dim(seconds(ms))}\n  ${held}\n`);
      return value;
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
