import type { Command } from "commander";
import { journalCommand } from "../journal.ts";
import { hostId } from "../resolve.ts";
import type { Surroundings } from "../session.ts";

export function hostEventsCommand(group: Command, around: Surroundings): void {
  journalCommand(group, around, { noun: "host", example: "local", collection: "hosts", id: hostId });
}
