import type { Command } from "commander";
import { journalCommand } from "../journal.ts";
import { scheduleId } from "../resolve.ts";
import type { Surroundings } from "../session.ts";

export function scheduleEventsCommand(group: Command, around: Surroundings): void {
  journalCommand(group, around, { noun: "schedule", example: "backup", collection: "schedules", id: scheduleId });
}
