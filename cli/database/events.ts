import type { Command } from "commander";
import { journalCommand } from "../journal.ts";
import { databaseId } from "../resolve.ts";
import type { Surroundings } from "../session.ts";

export function databaseEventsCommand(group: Command, around: Surroundings): void {
  journalCommand(group, around, { noun: "database", example: "shop", collection: "databases", id: databaseId });
}
