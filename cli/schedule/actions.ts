import type { Command } from "commander";
import type { ScheduleView } from "../../contract/schedule.ts";
import { inSession, serverCommand } from "../command.ts";
import { each } from "../each.ts";
import { Failure, Interrupted } from "../failure.ts";
import { scheduleId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

const VERBS = {
  trigger: { description: "run the jobs of schedules now", done: "triggered" },
  suspend: { description: "start nothing until it is resumed; a run that is under way goes on", done: "suspended" },
  resume: { description: "go on with the next time", done: "resumed" },
} as const;

export function scheduleActionCommands(group: Command, around: Surroundings): void {
  for (const verb of Object.keys(VERBS) as (keyof typeof VERBS)[]) {
    serverCommand(group, `${verb} <schedule...>`, VERBS[verb].description, [
      `lamplighter schedule ${verb} backup`,
    ]).action(
      inSession(around, (session, _options: SessionOptions, schedules: string[]) => act(session, verb, schedules)),
    );
  }
}

async function act(session: Session, verb: keyof typeof VERBS, schedules: readonly string[]): Promise<void> {
  await each(session.terminal, schedules, async (schedule) => {
    const id = await scheduleId(session.api, schedule);
    try {
      const { text } = await session.api.post(`/schedules/${id}/${verb}`);
      session.show(text, ({ message }: ScheduleView) => `schedule ${schedule} ${VERBS[verb].done}: ${message}\n`);
    } catch (error) {
      throw error instanceof Failure && !(error instanceof Interrupted)
        ? error.during(`cannot ${verb} schedule '${schedule}'`)
        : error;
    }
  });
}
