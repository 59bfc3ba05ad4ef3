import type { Command } from "commander";
import type { CredentialView } from "../../contract/database.ts";
import { age } from "../age.ts";
import { inSession, noun, serverCommand } from "../command.ts";
import { databaseId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { type Column, table } from "../table.ts";
import { showDsnOnce } from "./create.ts";

export function databaseCredentialsCommands(parent: Command, around: Surroundings): void {
  const credentials = noun(parent, "credentials", "the passwords of a database: one, or two while they are rotated");
  serverCommand(credentials, "list <database>", "show which passwords are valid, not what they are", [
    "lamplighter database credentials list shop",
  ])
    .alias("ls")
    .action(inSession(around, list));
  serverCommand(
    credentials,
    "rotate <database>",
    "make another password; the one before stays valid until the next rotation, or until it is retired",
    ["lamplighter database credentials rotate shop"],
  ).action(inSession(around, rotate));
  serverCommand(credentials, "retire <database> <credential>", "end the password of before the last rotation", [
    "lamplighter database credentials retire shop cred_01k…",
  ]).action(inSession(around, retire));
}

async function list(session: Session, _options: SessionOptions, reference: string): Promise<void> {
  const { terminal, around } = session;
  const { text } = await session.api.get(`/databases/${await databaseId(session.api, reference)}/credentials`);
  session.show(text, (rows: CredentialView[]) => table(columns(around.now()), rows, terminal.width, terminal.color));
}

async function rotate(session: Session, _options: SessionOptions, reference: string): Promise<void> {
  const id = await databaseId(session.api, reference);
  const { text } = await session.api.post(`/databases/${id}/credentials`);
  showDsnOnce(
    session,
    text,
    (made: CredentialView) => `${made.id} is the current password of ${reference}; the one before it is still valid.`,
  );
}

async function retire(
  session: Session,
  _options: SessionOptions,
  reference: string,
  credential: string,
): Promise<void> {
  const id = await databaseId(session.api, reference);
  await session.api.delete(`/databases/${id}/credentials/${credential}`);
  session.show(JSON.stringify({ id: credential, retired: true }), () => `${credential} is not valid any more\n`);
}

const columns = (now: number): Column<CredentialView>[] => [
  { title: "id", value: (one) => one.id },
  { title: "made", value: (one) => `${age(one.created_at, now)} ago`, align: "right" },
  { title: "current", value: (one) => (one.current ? "yes" : "until retired") },
];
