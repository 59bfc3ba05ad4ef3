import { Api } from "./api.ts";
import { type Asked, chooseTarget, type Target } from "./contexts.ts";
import { type Format, formatOf, joinPages, show } from "./output.ts";
import { Progress } from "./progress.ts";
import type { Terminal } from "./terminal.ts";

/** What surrounds one run of the CLI. Tests give their own. */
export type Surroundings = {
  env: Record<string, string | undefined>;
  terminal: Terminal;
  now: () => number;
  readStdin: () => Promise<string>;
  /** Asks a person; null when nobody is there. What is `hidden` is not shown as it is typed. */
  prompt: ((question: string, hidden: boolean) => Promise<string>) | null;
  interrupt: Interrupt;
};

/** Ctrl-C: `signal` says that it was pressed; `aftermath` is what a person should know then, e.g. what goes on without them. */
export class Interrupt {
  readonly controller = new AbortController();
  aftermath = "";
  /** The command has ended its work in order and has said so itself. */
  handled = false;
  get signal(): AbortSignal {
    return this.controller.signal;
  }
}

export type SessionOptions = Asked & { output?: string };

/** One command talking to one server. */
export class Session {
  readonly around: Surroundings;
  readonly target: Target;
  readonly api: Api;
  readonly format: Format;

  constructor(around: Surroundings, options: SessionOptions) {
    this.around = around;
    this.format = formatOf(options.output ?? "table");
    this.target = chooseTarget(options, around.env);
    this.api = new Api(this.target.url, this.target.token, around.interrupt.signal);
  }

  get terminal(): Terminal {
    return this.around.terminal;
  }

  get interrupted(): AbortSignal {
    return this.around.interrupt.signal;
  }

  progress(): Progress {
    return new Progress(this.terminal);
  }

  show(body: string, render: (value: never) => string): void {
    show(this.terminal, this.format, body, render);
  }

  /** Shows an answer that has no form for a person here. Answers whether one was asked for that is not for a person. */
  showRaw(body: string): boolean {
    if (this.format === "table") return false;
    show(this.terminal, this.format, body, () => "");
    return true;
  }

  /** Reads a list to its end or to `limit` rows. */
  async list(path: string, query: Parameters<Api["pages"]>[1], limit: number): Promise<string> {
    const pages: string[] = [];
    for await (const page of this.api.pages(path, query, limit)) pages.push(page);
    return joinPages(pages);
  }
}
