import type { Entry } from "../contract/event.ts";

/** Adds an entry to those that a decision in the making tells. */
export function note(
  draft: { entries: Entry[] },
  level: Entry["level"],
  component: Entry["component"],
  reason: string,
  message: string,
  data?: Record<string, unknown>,
): void {
  draft.entries.push({ level, component, reason, message, ...(data ? { data } : {}) });
}
