import { text } from "node:stream/consumers";
import { EXIT } from "./failure.ts";
import { prompt } from "./prompt.ts";
import { run } from "./run.ts";
import { Interrupt } from "./session.ts";
import { processTerminal } from "./terminal.ts";

/** npm and the terminal may both deliver one Ctrl-C; only a later one is a second one. */
const SAME_PRESS_MS = 700;

const interrupt = new Interrupt();
let pressedAt = 0;
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    // The second time means it: whatever is being put away stays as it is.
    if (pressedAt > 0 && signal === "SIGINT" && Date.now() - pressedAt > SAME_PRESS_MS) process.exit(EXIT.interrupted);
    pressedAt ||= Date.now();
    interrupt.controller.abort(signal);
  });
}
// A reader that has seen enough (`… | head`) closes the pipe; that is no error.
process.stdout.on("error", (error: NodeJS.ErrnoException) =>
  process.exit(error.code === "EPIPE" ? EXIT.ok : EXIT.other),
);

const code = await run(process.argv.slice(2), {
  env: process.env,
  terminal: processTerminal(),
  now: Date.now,
  readStdin: () => text(process.stdin),
  prompt: process.stdin.isTTY && process.stderr.isTTY ? prompt : null,
  interrupt,
});
process.exit(code);
