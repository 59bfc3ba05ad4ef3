import type { Command } from "commander";
import type { HookView } from "../../contract/hook.ts";
import { age } from "../age.ts";
import { collect, inSession, serverCommand } from "../command.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { type Column, table } from "../table.ts";
import { oneLine } from "../terminal.ts";

type Options = SessionOptions & { namespace?: string[] };

export function hookListCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "list", "list hooks, newest first", ["lamplighter hook list -n shop"])
    .alias("ls")
    .option("-n, --namespace <namespace>", "only of this namespace (repeat for several)", collect)
    .action(inSession(around, list));
}

async function list(session: Session, { namespace }: Options): Promise<void> {
  const { terminal, around } = session;
  session.show(await session.list("/hooks", { namespace }, Number.POSITIVE_INFINITY), (rows: HookView[]) =>
    rows.length === 0 ? "No hooks.\n" : table(columns(around.now()), rows, terminal.width, terminal.color),
  );
}

const columns = (now: number): Column<HookView>[] => [
  { title: "id", value: (h) => h.id },
  { title: "namespace", value: (h) => h.namespace },
  { title: "deployment", value: (h) => h.deployment, paint: (text, _h, color) => color.bold(text) },
  { title: "source", value: (h) => h.source },
  { title: "takes", value: takes, weight: 2, shrink: 12 },
  { title: "image", value: (h) => h.image ?? "as pushed", weight: 3, shrink: 20 },
  { title: "age", value: (h) => age(h.created_at, now), weight: 1, align: "right" },
];

/** Which pushes it takes. */
export function takes({ branches, tags, source }: HookView): string {
  const named = [...branches.map((one) => `branch ${one}`), ...tags.map((one) => `tag ${one}`)];
  if (named.length > 0) return oneLine(named.join(", "));
  return source === "registry" || source === "generic" ? "every tag" : "the default branch";
}
