import type { Command } from "commander";
import type { ResealReport } from "../../contract/secret.ts";
import { inSession, serverCommand } from "../command.ts";
import type { Session, Surroundings } from "../session.ts";

export function resealCommand(group: Command, around: Surroundings): void {
  serverCommand(
    group,
    "reseal",
    "seal everything with the newest key, after a new one was put first in SECRET_KEYS; says when an older one is not needed any more",
    ["lamplighter secret reseal"],
  ).action(inSession(around, reseal));
}

async function reseal(session: Session): Promise<void> {
  const all = { key: "", resealed: 0, left: {} as Record<string, number> };
  let cursor: string | undefined;
  do {
    const { text } = await session.api.post("/secrets/reseal", { query: { cursor } });
    const part = JSON.parse(text) as ResealReport;
    all.key = part.key;
    all.resealed += part.resealed;
    for (const [id, count] of Object.entries(part.left)) all.left[id] = (all.left[id] ?? 0) + count;
    cursor = part.next ?? undefined;
  } while (cursor !== undefined);
  session.show(JSON.stringify(all), () => {
    const left = Object.entries(all.left).map(([id, count]) => `  ${count} under ${id}, which is still needed\n`);
    return `Sealed with ${all.key}: ${all.resealed} anew\n${left.length > 0 ? left.join("") : `Only ${all.key} is needed: older keys can be taken out of SECRET_KEYS\n`}`;
  });
}
