import type { Command } from "commander";
import { journalCommand } from "../journal.ts";
import { deploymentId } from "../resolve.ts";
import type { Surroundings } from "../session.ts";

export function eventsCommand(group: Command, around: Surroundings): void {
  journalCommand(group, around, { noun: "deployment", example: "web", collection: "deployments", id: deploymentId });
}
