import { clip, oneLine, type Terminal } from "./terminal.ts";

const FRAMES = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/** What is being waited for: one line rewritten in place on a terminal; in a pipe a plain line whenever the text changes. */
export class Progress {
  readonly #terminal: Terminal;
  #text = "";
  #frame = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  update(text: string): void {
    const line = oneLine(text);
    if (this.#terminal.live === null) {
      if (line !== this.#text) this.#terminal.err(`${line}\n`);
      this.#text = line;
      return;
    }
    this.#text = line;
    this.#timer ??= setInterval(() => this.#draw(), 100).unref();
    this.#draw();
  }

  /** A line that stays. The progress line goes on below it. */
  note(text: string): void {
    this.#wipe();
    this.#terminal.err(`${text}\n`);
    if (this.#timer !== undefined) this.#draw();
  }

  /** Ends the progress line, leaving nothing of it on a terminal. */
  clear(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#wipe();
    this.#text = "";
  }

  #draw(): void {
    const { live, errColor } = this.#terminal;
    if (live === null) return;
    const frame = FRAMES[this.#frame++ % FRAMES.length] as string;
    this.#terminal.err(`\r\u001b[2K${errColor.cyan(frame)} ${clip(this.#text, live - 3)}`);
  }

  #wipe(): void {
    if (this.#terminal.live !== null && this.#text !== "") this.#terminal.err("\r\u001b[2K");
  }
}
