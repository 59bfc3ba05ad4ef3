import { enableCompileCache, flushCompileCache } from "node:module";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";

// Every command is a process, and most of its time went into compiling the same modules: what comes of that is kept, beside the packages.
enableCompileCache(fileURLToPath(new URL("../node_modules/.cache/lamplighter", import.meta.url)));
const [{ EXIT }, { prompt }, { run }, { Interrupt }, { processTerminal }] = await Promise.all([
  import("./failure.ts"),
  import("./prompt.ts"),
  import("./run.ts"),
  import("./session.ts"),
  import("./terminal.ts"),
]);
// Now, for the programs that this one is about to start.
flushCompileCache();

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
