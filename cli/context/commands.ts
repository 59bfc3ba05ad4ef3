import type { Command } from "commander";
import { noun, outputOption, withExamples } from "../command.ts";
import { chooseTarget, contextFilePath, normalUrl, readContexts, unknownContext, writeContexts } from "../contexts.ts";
import { EXIT, Failure } from "../failure.ts";
import { formatOf, show } from "../output.ts";
import type { Surroundings } from "../session.ts";
import { sheet } from "../sheet.ts";
import { table } from "../table.ts";

type Options = { output: string; url?: string; token?: string };

/** The verbs are a line or two each, all on one small file: they stay together. */
export function contextCommands(program: Command, around: Surroundings): void {
  const { env, terminal } = around;
  const group = noun(program, "context", "choose the server that commands talk to").alias("contexts");
  const verb = (usage: string, description: string, examples: readonly string[]) =>
    withExamples(group.command(usage).description(description), examples).addOption(outputOption());

  verb("list", "list contexts; the current one is marked", ["lamplighter context list"])
    .alias("ls")
    .alias("configs")
    .action((options: Options) => {
      const file = readContexts(env);
      const rows = Object.entries(file.contexts).map(([name, { url, token }]) => ({
        name,
        url,
        token: token !== null,
        current: name === file.current,
      }));
      show(terminal, formatOf(options.output), JSON.stringify(rows, null, 2), (all: typeof rows) =>
        all.length === 0
          ? "No contexts. `lamplighter context set NAME --url URL --token TOKEN` makes one.\n"
          : table(
              [
                { title: "", value: (c) => (c.current ? "*" : "") },
                { title: "name", value: (c) => c.name },
                { title: "url", value: (c) => c.url },
                { title: "token", value: (c) => (c.token ? "set" : "none"), weight: 1 },
              ],
              all,
              terminal.width,
              terminal.color,
            ),
      );
    });

  verb("use <name>", "make a context the current one", ["lamplighter context use prod"]).action((name: string) => {
    const file = readContexts(env);
    if (file.contexts[name] === undefined) throw unknownContext(name, file);
    writeContexts(env, { ...file, current: name });
    terminal.out(`now using ${name}\n`);
  });

  verb("set <name>", "make or change a context", [
    "lamplighter context set prod --url https://lamps.example.com --token lamp_…",
    "lamplighter context set prod --token lamp_…",
  ])
    .option("--url <url>", "the server's URL; needed for a new context")
    .option("--token <token>", "the token to send there")
    .action((name: string, options: Options) => {
      const file = readContexts(env);
      const before = file.contexts[name];
      const url = options.url ?? before?.url;
      if (url === undefined) throw unknownContext(name, file);
      const moved = before !== undefined && normalUrl(url) !== before.url;
      const token = options.token ?? (moved ? null : (before?.token ?? null));
      writeContexts(env, {
        current: file.current ?? name,
        contexts: { ...file.contexts, [name]: { url: normalUrl(url), token, by: "user" } },
      });
      terminal.out(
        `context ${name} ${before === undefined ? "made" : "changed"}${moved && token === null ? "; its token was for the old URL and is gone" : ""}\n`,
      );
    });

  verb("remove <name>", "forget a context", ["lamplighter context remove prod"])
    .alias("rm")
    .action((name: string) => {
      const file = readContexts(env);
      if (file.contexts[name] === undefined) throw unknownContext(name, file);
      const { [name]: _gone, ...contexts } = file.contexts;
      writeContexts(env, { current: file.current === name ? null : file.current, contexts });
      terminal.out(`context ${name} removed\n`);
    });

  verb("current-context", "print the name of the context in use", ["lamplighter context current-context"]).action(
    () => {
      const { name } = chooseTarget({}, env);
      if (name === null) throw new Failure("no context is in use", { exit: EXIT.notFound });
      terminal.out(`${name}\n`);
    },
  );

  verb("user-token", "print the token that commands send", [
    'curl -H "Authorization: Bearer $(lamplighter context user-token)" …',
  ]).action(() => {
    const { token } = chooseTarget({}, env);
    if (token === null)
      throw new Failure("there is no token", { exit: EXIT.auth, hint: "`lamplighter login` gets one." });
    terminal.out(`${token}\n`);
  });

  verb("show", "show which server commands talk to now, and why", ["lamplighter context show"]).action(
    (options: Options) => {
      const { url, token, from } = chooseTarget({}, env);
      const shown = { url, from, token: token === null ? "none" : "set", file: contextFilePath(env) };
      show(terminal, formatOf(options.output), JSON.stringify(shown, null, 2), (value: typeof shown) =>
        sheet(terminal.color, terminal.width, [
          ["Server", value.url],
          ["From", value.from],
          ["Token", value.token],
          ["File", value.file],
        ]),
      );
    },
  );
}
