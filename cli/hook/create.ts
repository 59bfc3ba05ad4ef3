import { type Command, Option } from "commander";
import { HOOK_SOURCES, type HookCreated } from "../../contract/hook.ts";
import { collect, inSession, serverCommand } from "../command.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { givenSecret } from "../webhook/secret.ts";

type Options = SessionOptions & {
  namespace: string;
  source: string;
  image?: string;
  branch?: string[];
  tag?: string[];
  secret?: string;
  description?: string;
};

export function hookCreateCommand(group: Command, around: Surroundings): void {
  serverCommand(
    group,
    "create <deployment>",
    "make an address that applies a new image; it is the only thing on stdout, its secret is shown once",
    [
      "lamplighter hook create shop/web --source registry --tag 'v*'",
      "lamplighter hook create shop/web --source github --image registry.example.com/web:{sha} --branch main",
    ],
  )
    .addOption(
      new Option("--source <source>", "who calls, which says how it signs").choices(HOOK_SOURCES).makeOptionMandatory(),
    )
    .option(
      "-n, --namespace <namespace>",
      "the deployment's namespace, when it is not given before its name",
      "default",
    )
    .option("--image <template>", "the image of a push: {sha}, {short_sha}, {ref}, {tag} and {digest} are filled in")
    .option("--branch <pattern>", "only pushes to this branch (repeat for several); otherwise the default one", collect)
    .option("--tag <pattern>", "only this tag (repeat for several)", collect)
    .option(
      "-s, --secret <secret>",
      "what the caller signs with, `-` reads it from standard input; otherwise one is drawn",
    )
    .option("--description <text>", "what it is for")
    .action(inSession(around, create));
}

async function create(session: Session, options: Options, reference: string): Promise<void> {
  const slash = reference.indexOf("/");
  const secret = await givenSecret(options.secret, session);
  const body = {
    namespace: slash > 0 ? reference.slice(0, slash) : options.namespace,
    deployment: reference.slice(slash + 1),
    source: options.source,
    branches: options.branch ?? [],
    tags: options.tag ?? [],
    ...(options.image === undefined ? {} : { image: options.image }),
    ...(secret === undefined ? {} : { secret }),
    ...(options.description === undefined ? {} : { description: options.description }),
  };
  const { text } = await session.api.post("/hooks", { body });
  if (session.showRaw(text)) return;
  const made = JSON.parse(text) as HookCreated;
  session.terminal.err(`Hook ${made.id} created. Its caller needs this secret, which is not shown again:\n`);
  session.terminal.err(`  ${made.secret}\nand calls:\n`);
  session.terminal.out(`${made.url}\n`);
}
