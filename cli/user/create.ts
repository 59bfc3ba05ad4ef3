import { type Command, Option } from "commander";
import { ROLES, type Role, type UserView } from "../../contract/user.ts";
import { inSession, serverCommand } from "../command.ts";
import { Failure } from "../failure.ts";
import { type PasswordOptions, readNewPassword } from "../password.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

type Options = SessionOptions & PasswordOptions & { username?: string; role?: Role };

export function userCreateCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "create [username]", "make a user; the first one is an admin", [
    "lamplighter user create ada",
    "lamplighter user create ada --role operator",
    'printf %s "$PASSWORD" | lamplighter user create ada --password-stdin',
  ])
    .option("-u, --username <name>", "the same as the argument")
    .option("-p, --password <password>", "visible to others on this machine; asked for when left out")
    .option("--password-stdin", "read the password from standard input")
    .addOption(new Option("-r, --role <role>", "what the user may do; otherwise viewer").choices(ROLES))
    .action(inSession(around, create));
}

async function create(session: Session, options: Options, argument: string | undefined): Promise<void> {
  const username = argument ?? options.username;
  if (username === undefined) throw new Failure("no username: `lamplighter user create NAME`");
  const role = options.role ?? (await usualRole(session));
  const password = await readNewPassword(session.around, options);
  const { text } = await session.api.post("/users", { body: { username, password, role } });
  session.show(text, (user: UserView) => `user '${user.username}' created, ${user.role} (id: ${user.id})\n`);
}

/** Somebody has to be able to make the others. */
async function usualRole(session: Session): Promise<Role> {
  const first = JSON.parse(await session.list("/users", {}, 1)) as UserView[];
  if (first.length > 0) return "viewer";
  session.terminal.err("The first user is made an admin.\n");
  return "admin";
}
