import { Argument, type Command } from "commander";
import { withExamples } from "./command.ts";
import type { Surroundings } from "./session.ts";

/** Commands and flags only: names of deployments would cost a request for each press of Tab. */
export function completionsCommand(program: Command, { terminal }: Surroundings): void {
  withExamples(
    program.command("completions").description("print a script that completes commands and flags in a shell"),
    [
      "source <(lamplighter completions bash)      # in ~/.bashrc; zsh alike, in ~/.zshrc",
      "lamplighter completions fish | source       # in ~/.config/fish/config.fish",
    ],
  )
    .addArgument(new Argument("<shell>", "the shell").choices(["bash", "zsh", "fish"]))
    .action((shell: "bash" | "zsh" | "fish") =>
      terminal.out(shell === "fish" ? fish(program) : bash(program, shell === "zsh")),
    );
}

type Entry = { path: string[]; commands: Command[]; flags: string[] };

function entries(command: Command, path: string[] = []): Entry[] {
  const commands = command.commands.filter((child) => child.name() !== "help");
  const flags = [...command.options.flatMap(({ short, long }) => [short, long]), "--help"].filter(
    (flag) => flag != null,
  );
  return [{ path, commands, flags }, ...commands.flatMap((child) => entries(child, [...path, child.name()]))];
}

function bash(program: Command, zsh: boolean): string {
  const cases = entries(program).map(
    ({ path, commands, flags }) =>
      `    "${path.join(" ")}") words="${[...commands.map((child) => child.name()), ...flags].join(" ")}" ;;`,
  );
  const known = entries(program).map(({ path }) => `"${path.join(" ")}"`);
  return `${zsh ? "autoload -U +X bashcompinit && bashcompinit\n" : ""}_lamplighter() {
  local path="" next word words=""
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    next="\${path:+$path }$word"
    case "$next" in
      ${known.filter((text) => text !== '""').join("|")}) path="$next" ;;
    esac
  done
  case "$path" in
${cases.join("\n")}
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _lamplighter lamplighter
`;
}

function fish(program: Command): string {
  const quoted = (text: string) => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
  const lines = entries(program).flatMap(({ path, commands, flags }) => {
    const [group, verb] = path;
    const here =
      group === undefined
        ? "__fish_use_subcommand"
        : verb === undefined
          ? `__fish_seen_subcommand_from ${group}`
          : `__fish_seen_subcommand_from ${group}; and __fish_seen_subcommand_from ${verb}`;
    return [
      ...commands.map(
        (child) => `complete -c lamplighter -n ${quoted(here)} -a ${child.name()} -d ${quoted(child.description())}`,
      ),
      ...flags
        .filter((flag) => flag.startsWith("--"))
        .map((flag) => `complete -c lamplighter -n ${quoted(here)} -l ${flag.slice(2)}`),
    ];
  });
  return `${lines.join("\n")}\n`;
}
