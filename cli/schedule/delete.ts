import type { Command } from "commander";
import { inSession, serverCommand } from "../command.ts";
import { each } from "../each.ts";
import { scheduleId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

export function scheduleDeleteCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "delete <schedule...>", "delete schedules and their runs", [
    "lamplighter schedule delete backup",
  ])
    .alias("rm")
    .action(inSession(around, remove));
}

async function remove(session: Session, _options: SessionOptions, schedules: string[]): Promise<void> {
  await each(session.terminal, schedules, async (schedule) => {
    const id = await scheduleId(session.api, schedule);
    await session.api.delete(`/schedules/${id}`);
    session.show(JSON.stringify({ id, deleted: true }), () => `schedule ${schedule} deleted\n`);
  });
}
