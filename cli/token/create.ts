import type { Command } from "commander";
import { parseDuration } from "../../contract/quantity.ts";
import { SCOPES } from "../../contract/scope.ts";
import type { TokenCreated } from "../../contract/token.ts";
import { collect, inSession, serverCommand } from "../command.ts";
import { Failure } from "../failure.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

type Options = SessionOptions & { scope?: string[]; namespace?: string[]; expires?: string };

export function createCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "create <name>", "make a token; it is shown once, and is the only thing on stdout", [
    "lamplighter token create ci --scope deployments:write --namespace prod --expires 30d",
    'TOKEN="$(lamplighter token create viewer -s deployments:read -s hosts:read)"',
  ])
    .requiredOption("-s, --scope <scope>", `what it may do (repeat for several): ${SCOPES.join(", ")}`, collect)
    .option("-n, --namespace <namespace>", "only in this namespace (repeat for several); otherwise in all", collect)
    .option("-e, --expires <when>", "a duration (30d, 12h) or a time (2027-01-01T00:00:00Z); otherwise never")
    .action(inSession(around, create));
}

async function create(session: Session, options: Options, name: string): Promise<void> {
  const body = {
    name,
    scopes: options.scope ?? [],
    namespaces: options.namespace ?? [],
    ...(options.expires === undefined ? {} : { expire_at: expiry(options.expires, session.around.now()) }),
  };
  showOnce(session, (await session.api.post("/tokens", { body })).text);
}

/** The secret alone goes to stdout, so that `$(…)` catches just that. */
export function showOnce(session: Session, text: string): void {
  if (session.showRaw(text)) return;
  const token = JSON.parse(text) as TokenCreated;
  const where = token.namespaces.length === 0 ? "all namespaces" : token.namespaces.join(", ");
  const until = token.expire_at === null ? "until it is revoked" : `until ${token.expire_at}`;
  session.terminal.err(`Token ${token.name} (${token.id}): ${token.scopes.join(", ")} in ${where}, ${until}.\n`);
  session.terminal.err("It is not shown again:\n");
  session.terminal.out(`${token.token}\n`);
}

function expiry(text: string, now: number): string {
  const ms = parseDuration(text);
  if (ms !== null) return new Date(now + ms).toISOString();
  if (Number.isNaN(Date.parse(text)))
    throw new Failure(`--expires '${text}': expected a duration such as 30d, or a time such as 2027-01-01T00:00:00Z`);
  return new Date(text).toISOString();
}
