import type { Command } from "commander";
import type { LoggedIn } from "../contract/user.ts";
import { inSession, serverCommand } from "./command.ts";
import { type ContextFile, readContexts, writeContexts } from "./contexts.ts";
import { Failure, Refused } from "./failure.ts";
import { type PasswordOptions, readPassword } from "./password.ts";
import type { Session, SessionOptions, Surroundings } from "./session.ts";

type Options = SessionOptions & PasswordOptions & { username?: string };

export function loginCommand(program: Command, around: Surroundings): void {
  serverCommand(program, "login", "log in with username and password, and keep the session in a context", [
    "lamplighter login -u ada",
    "lamplighter login -u ada --url https://lamps.example.com",
    'printf %s "$PASSWORD" | lamplighter login -u ada --password-stdin',
  ])
    .option("-u, --username <name>", "who you are; asked for when left out")
    .option("-p, --password <password>", "visible to others on this machine; asked for when left out")
    .option("--password-stdin", "read the password from standard input")
    .action(inSession(around, login));
}

export function logoutCommand(program: Command, around: Surroundings): void {
  serverCommand(program, "logout", "end the session, and forget its token", ["lamplighter logout"]).action(
    inSession(around, logout),
  );
}

async function login(session: Session, options: Options): Promise<void> {
  const { around, terminal, target } = session;
  if (options.username === undefined && around.prompt === null) throw new Failure("no username: give -u");
  const username = options.username ?? (await around.prompt?.("Username: ", false)) ?? "";
  const password = await readPassword(around, options);
  const { text } = await attempt(session, { username, password });
  const { token, user, expires_at } = JSON.parse(text) as LoggedIn;
  const file = readContexts(around.env);
  const name = contextFor(file, target, `${user.username}@${new URL(target.url).host}`);
  const by = file.contexts[name]?.by ?? "login";
  writeContexts(around.env, {
    current: name,
    contexts: { ...file.contexts, [name]: { url: target.url, token, by } },
  });
  const { token: _kept, ...shown } = JSON.parse(text) as LoggedIn;
  if (session.showRaw(JSON.stringify({ ...shown, context: name }))) return;
  terminal.out(`logged in to ${target.url} as ${user.username} (${user.role}), context ${name}\n`);
  terminal.err(`The session ends by ${expires_at}, or after 30 days without use.\n`);
  if (around.env.LAMPLIGHTER_TOKEN)
    terminal.err("$LAMPLIGHTER_TOKEN is set: commands send that token instead, unless a context is named with -c.\n");
}

async function attempt(session: Session, body: { username: string; password: string }): Promise<{ text: string }> {
  try {
    // Each attempt counts, so none is repeated.
    return await session.api.post("/login", { body, idempotencyKey: null });
  } catch (error) {
    if (error instanceof Refused) throw error.during("login failed");
    throw error;
  }
}

/** Where the session is kept: the context that was asked for or is in use, unless it is not the user's own. */
function contextFor(file: ContextFile, target: Session["target"], fresh: string): string {
  const used = target.name;
  const isOwn = used !== null && file.contexts[used]?.by !== "up" && file.contexts[used]?.url === target.url;
  return isOwn ? used : fresh;
}

async function logout(session: Session): Promise<void> {
  const { around, terminal, target } = session;
  if (target.token === null) throw new Failure("you are not logged in", { exit: 2 });
  let wasOver = false;
  try {
    await session.api.post("/logout", { idempotencyKey: null });
  } catch (error) {
    wasOver = error instanceof Refused && error.problem.status === 401;
    if (!wasOver) throw error;
  }
  const file = readContexts(around.env);
  const kept = Object.entries(file.contexts).flatMap(([name, context]) => {
    if (context.url !== target.url || context.token !== target.token) return [[name, context] as const];
    return context.by === "login" ? [] : [[name, { ...context, token: null }] as const];
  });
  const contexts = Object.fromEntries(kept);
  const current = file.current !== null && file.current in contexts ? file.current : (kept[0]?.[0] ?? null);
  writeContexts(around.env, { current, contexts });
  session.show(JSON.stringify({ url: target.url, logged_out: true }), () =>
    wasOver ? "the session had ended already; its token is forgotten\n" : `logged out of ${target.url}\n`,
  );
  if (current !== null && current !== file.current) terminal.err(`Now using context ${current}.\n`);
}
