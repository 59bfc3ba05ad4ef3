import type { Command } from "commander";
import type { KeyCreated, KeyView } from "../../contract/instance-key.ts";
import { age } from "../age.ts";
import { collect, inSession, positive, serverCommand } from "../command.ts";
import { keyValues } from "../key-values.ts";
import { instanceId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { type Column, table } from "../table.ts";

type Create = SessionOptions & { table?: string[]; row?: string[]; rate?: number; expires?: string };

export function instanceKeyCommands(group: Command, around: Surroundings): void {
  const keys = group.command("keys").description("say who may query an instance");
  serverCommand(keys, "create <instance> <name>", "make a key; it is shown once, and is the only thing on stdout", [
    'KEY="$(lamplighter instance keys create shop-read storefront --table products)"',
    "lamplighter instance keys create shop-read partner --row 'orders=partner_id = 7' --rate 50",
  ])
    .option("-t, --table <table>", "only this table (repeat for several); otherwise all", collect)
    .option("--row <table=filter>", "only rows of this table that meet a filter (repeat for several)", collect)
    .option("--rate <n>", "so many requests a second", positive)
    .option("-e, --expires <time>", "a time such as 2027-01-01T00:00:00Z; otherwise never")
    .action(inSession(around, create));
  serverCommand(keys, "list <instance>", "list the keys of an instance", ["lamplighter instance keys list shop-read"])
    .alias("ls")
    .action(inSession(around, list));
  serverCommand(keys, "revoke <instance> <key...>", "end keys at once: by name or id", [
    "lamplighter instance keys revoke shop-read storefront",
  ]).action(inSession(around, revoke));
}

async function create(session: Session, options: Create, instance: string, name: string): Promise<void> {
  const { table: tables, row, rate, expires: expires_at } = options;
  const body = { name, tables, rows: row && keyValues(row, "--row"), rate, expires_at };
  const { text } = await session.api.post(`/instances/${await instanceId(session.api, instance)}/keys`, { body });
  if (session.showRaw(text)) return;
  const made = JSON.parse(text) as KeyCreated;
  session.terminal.err(`Key ${made.name} (${made.id}) of ${instance}. It is not shown again:\n`);
  session.terminal.out(`${made.key}\n`);
}

async function list(session: Session, _options: SessionOptions, instance: string): Promise<void> {
  const { terminal, around } = session;
  const { text } = await session.api.get(`/instances/${await instanceId(session.api, instance)}/keys`);
  session.show(text, (rows: KeyView[]) =>
    rows.length === 0 ? "No keys.\n" : table(columns(around.now()), rows, terminal.width, terminal.color),
  );
}

const columns = (now: number): Column<KeyView>[] => [
  { title: "id", value: (k) => k.id, weight: 2 },
  { title: "name", value: (k) => k.name, shrink: 16, paint: (text, _k, color) => color.bold(text) },
  { title: "tables", value: (k) => k.tables?.join(",") ?? "all", shrink: 12 },
  { title: "rows", value: (k) => rowsText(k) || "all", weight: 4, shrink: 12 },
  { title: "rate", value: (k) => (k.rate === null ? "any" : `${k.rate}/s`), weight: 4 },
  { title: "expires", value: (k) => k.expires_at ?? "never", weight: 3 },
  { title: "fits", value: (k) => fitOf(k), weight: 2, shrink: 12 },
  { title: "age", value: (k) => age(k.created_at, now), weight: 1, align: "right" },
];

const fitOf = ({ usable, problems }: KeyView): string =>
  problems.length === 0 ? "yes" : `${usable ? "in part" : "no, opens nothing"}: ${problems.join("; ")}`;

const rowsText = ({ rows }: KeyView): string =>
  Object.entries(rows)
    .map(([table, filter]) => `${table}: ${filter}`)
    .join("; ");

async function revoke(session: Session, _options: SessionOptions, instance: string, names: string[]): Promise<void> {
  const id = await instanceId(session.api, instance);
  const { text } = await session.api.get(`/instances/${id}/keys`);
  const known = JSON.parse(text) as KeyView[];
  for (const name of names) {
    const meant = known.filter((key) => key.name === name || key.id === name);
    for (const key of meant.length > 0 ? meant : [{ id: name }])
      await session.api.delete(`/instances/${id}/keys/${key.id}`);
    session.show(JSON.stringify({ name, revoked: true }), () => `key ${name} of ${instance} revoked\n`);
  }
}
