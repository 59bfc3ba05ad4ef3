import { randomUUID } from "node:crypto";
import type { ScheduleView } from "../../contract/schedule.ts";
import { Failure, Interrupted, Refused } from "../failure.ts";
import type { DeclaredSchedule } from "../manifest/schedules.ts";
import type { Session } from "../session.ts";

/** Applies the schedules of manifest files, after their deployments. Answers the bodies. */
export async function applySchedules(
  session: Session,
  schedules: readonly DeclaredSchedule[],
  dryRun: boolean,
): Promise<string[]> {
  const bodies: string[] = [];
  for (const one of schedules) {
    const said = SAID[(JSON.parse(await sendSchedule(session, one, true)) as { action: keyof typeof SAID }).action];
    const text = await sendSchedule(session, one, dryRun);
    const id = dryRun ? "" : ` (${(JSON.parse(text) as ScheduleView).id})`;
    if (session.format === "table")
      session.terminal.out(`schedule ${nameOf(one)} ${dryRun ? said.would : said.done}${id}\n`);
    bodies.push(text);
  }
  return bodies;
}

const SAID = {
  create: { done: "created", would: "would be created" },
  update: { done: "updated", would: "would be updated" },
  unchanged: { done: "unchanged", would: "would stay as it is" },
} as const;

const nameOf = ({ schedule }: DeclaredSchedule): string => `${schedule.namespace}/${schedule.name}`;

export async function sendSchedule(session: Session, declared: DeclaredSchedule, dryRun: boolean): Promise<string> {
  try {
    const { text } = await session.api.post("/schedules", {
      query: { dry_run: dryRun || undefined },
      body: declared.body,
      ...(dryRun ? {} : { idempotencyKey: randomUUID() }),
    });
    return text;
  } catch (error) {
    if (error instanceof Refused && error.problem.violations.length > 0) {
      throw new Failure(`cannot apply schedule '${nameOf(declared)}': ${error.message}`, {
        exit: error.exit,
        details: error.problem.violations.map(declared.tell),
        hint: error.hint,
      });
    }
    throw error instanceof Failure && !(error instanceof Interrupted)
      ? error.during(`cannot apply schedule '${nameOf(declared)}'`)
      : error;
  }
}
