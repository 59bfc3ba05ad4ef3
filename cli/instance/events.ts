import type { Command } from "commander";
import { journalCommand } from "../journal.ts";
import { instanceId } from "../resolve.ts";
import type { Surroundings } from "../session.ts";

export function instanceEventsCommand(group: Command, around: Surroundings): void {
  journalCommand(group, around, { noun: "instance", example: "shop-read", collection: "instances", id: instanceId });
}
