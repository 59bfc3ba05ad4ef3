import type { Command } from "commander";
import type { TokenView } from "../../contract/token.ts";
import { age, until } from "../age.ts";
import { inSession, serverCommand } from "../command.ts";
import type { Session, Surroundings } from "../session.ts";
import { type Column, table } from "../table.ts";

export function tokenListCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "list", "list tokens, newest first", ["lamplighter token list"])
    .alias("ls")
    .action(inSession(around, list));
}

async function list(session: Session): Promise<void> {
  const { terminal, around } = session;
  session.show(await session.list("/tokens", {}, Number.POSITIVE_INFINITY), (rows: TokenView[]) =>
    rows.length === 0 ? "No tokens.\n" : table(columns(around.now()), rows, terminal.width, terminal.color),
  );
}

const columns = (now: number): Column<TokenView>[] => [
  { title: "id", value: (t) => t.id, weight: 2 },
  { title: "name", value: (t) => t.name, shrink: 16, paint: (text, _t, color) => color.bold(text) },
  {
    title: "state",
    value: (t) => state(t, now),
    paint: (text, t, color) => (state(t, now) === "valid" ? color.green(text) : color.dim(text)),
  },
  { title: "scopes", value: (t) => t.scopes.join(","), weight: 5, shrink: 18 },
  {
    title: "namespaces",
    value: (t) => (t.namespaces.length === 0 ? "all" : t.namespaces.join(",")),
    weight: 4,
    shrink: 10,
  },
  { title: "expires", value: (t) => expires(t, now), weight: 3 },
  { title: "used", value: (t) => (t.last_used_at === null ? "never" : `${age(t.last_used_at, now)} ago`), weight: 3 },
  { title: "age", value: (t) => age(t.created_at, now), weight: 1, align: "right" },
];

function state(token: TokenView, now: number): "valid" | "revoked" | "expired" | "used up" {
  if (token.revoked_at !== null) return "revoked";
  if (token.expire_at !== null && Date.parse(token.expire_at) <= now) return "expired";
  return token.uses_left === 0 ? "used up" : "valid";
}

function expires(token: TokenView, now: number): string {
  if (token.expire_at === null) return "never";
  return Date.parse(token.expire_at) <= now ? `${age(token.expire_at, now)} ago` : until(token.expire_at, now);
}
