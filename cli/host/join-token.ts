import type { Command } from "commander";
import type { TokenCreated } from "../../contract/token.ts";
import { collect, inSession, positive, serverCommand } from "../command.ts";
import { keyValues } from "../key-values.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

type Options = SessionOptions & { expires: string; uses: number; label?: string[] };

export function joinTokenCommand(group: Command, around: Surroundings): void {
  serverCommand(
    group,
    "join-token",
    "make a short-lived token that lets a machine join; it is the only thing on stdout",
    ["lamplighter host join-token", "lamplighter host join-token --uses 5 --expires 24h --label zone=a"],
  )
    .option("--expires <duration>", "how long it may be used, 7d at most", "1h")
    .option("--uses <n>", "for how many machines", positive, 1)
    .option("-l, --label <key=value>", "a label for every machine that joins with it (repeat for several)", collect)
    .action(inSession(around, joinToken));
}

async function joinToken(session: Session, options: Options): Promise<void> {
  const body = { expires_in: options.expires, uses: options.uses, labels: keyValues(options.label ?? [], "--label") };
  const { text } = await session.api.post("/join-tokens", { body });
  if (session.showRaw(text)) return;
  const created = JSON.parse(text) as TokenCreated;
  const { terminal } = session;
  terminal.err(
    `For ${options.uses === 1 ? "one machine" : `${options.uses} machines`}, until ${created.expire_at}. On the machine, run:\n`,
  );
  terminal.err(`  lamplighter agent --url ${session.api.url} --join-token ${created.token}\n`);
  terminal.out(`${created.token}\n`);
}
