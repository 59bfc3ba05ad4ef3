import type { Command } from "commander";
import { journalCommand } from "../journal.ts";
import { connectionId } from "../resolve.ts";
import type { Surroundings } from "../session.ts";

export function connectionEventsCommand(group: Command, around: Surroundings): void {
  journalCommand(group, around, {
    ...{ noun: "connection", example: "shop-mysql", collection: "connections", id: connectionId },
  });
}
