import type { Command } from "commander";
import type { UserView } from "../../contract/user.ts";
import { age } from "../age.ts";
import { inSession, serverCommand } from "../command.ts";
import type { Session, Surroundings } from "../session.ts";
import { type Column, table } from "../table.ts";

export function userListCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "list", "list users, newest first", ["lamplighter user list"])
    .alias("ls")
    .action(inSession(around, list));
}

async function list(session: Session): Promise<void> {
  const { terminal, around } = session;
  session.show(await session.list("/users", {}, Number.POSITIVE_INFINITY), (rows: UserView[]) =>
    rows.length === 0
      ? "No users. `lamplighter user create NAME` makes the first one, an admin.\n"
      : table(columns(around.now()), rows, terminal.width, terminal.color),
  );
}

const columns = (now: number): Column<UserView>[] => [
  { title: "id", value: (u) => u.id, weight: 2 },
  { title: "username", value: (u) => u.username, shrink: 16, paint: (text, _u, color) => color.bold(text) },
  { title: "role", value: (u) => u.role },
  { title: "last login", value: (u) => (u.login_at === null ? "never" : `${age(u.login_at, now)} ago`), weight: 3 },
  { title: "age", value: (u) => age(u.created_at, now), weight: 1, align: "right" },
];
