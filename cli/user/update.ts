import { type Command, Option } from "commander";
import { ROLES, type Role, type UserView } from "../../contract/user.ts";
import { inSession, serverCommand } from "../command.ts";
import { Failure } from "../failure.ts";
import { readNewPassword } from "../password.ts";
import { userId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

type Options = SessionOptions & {
  username?: string;
  password?: string | true;
  passwordStdin?: boolean;
  role?: Role;
};

export function userUpdateCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "update [user]", "change a user; without USER, you yourself", [
    "lamplighter user update -p",
    "lamplighter user update -u ada.l",
    "lamplighter user update ada --role viewer",
  ])
    .option("-u, --username <name>", "another username")
    .option("-p, --password [password]", "another password; without a value it is asked for. Other sessions end")
    .option("--password-stdin", "read the new password from standard input")
    .addOption(new Option("-r, --role <role>", "another role; all sessions and tokens of the user end").choices(ROLES))
    .action(inSession(around, update));
}

async function update(session: Session, options: Options, reference: string | undefined): Promise<void> {
  const { username, role, password, passwordStdin } = options;
  const body: Record<string, string> = {
    ...(username === undefined ? {} : { username }),
    ...(role === undefined ? {} : { role }),
  };
  if (password !== undefined || passwordStdin)
    body.password = await readNewPassword(session.around, {
      ...(typeof password === "string" ? { password } : {}),
      ...(passwordStdin === undefined ? {} : { passwordStdin }),
    });
  if (Object.keys(body).length === 0) throw new Failure("nothing to change: give -u, -p or --role");
  const id = reference === undefined ? await ownId(session) : await userId(session.api, reference);
  const { text } = await session.api.put(`/users/${id}`, { body });
  session.show(text, (user: UserView) => `user '${user.username}' updated, ${user.role}\n`);
}

async function ownId(session: Session): Promise<string> {
  return (JSON.parse((await session.api.get("/users/me")).text) as UserView).id;
}
