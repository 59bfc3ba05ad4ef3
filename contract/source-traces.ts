/**
 * What engines of PostgreSQL make at their source: a publication of their instance, and a slot each, called after it and after their generation.
 * A slot that nobody reads makes the source keep its log.
 */
export const tracesName = (instanceId: string): string =>
  `lamplighter_${instanceId.replace(/[^a-z0-9_]/g, "_")}`.slice(0, 50);

/** What the slots of all engines of an instance are called, as PostgreSQL's `~` understands it. */
export const slotPattern = (instanceId: string): string => `^${tracesName(instanceId)}_g[0-9]+$`;

/** What takes all of it away, for whoever administers the source. */
export const removalStatements = (instanceId: string): string[] => [
  `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name ~ '${slotPattern(instanceId)}'`,
  publicationRemoval(instanceId),
];

/** Without slots it costs its source nothing. */
export const publicationRemoval = (instanceId: string): string =>
  `DROP PUBLICATION IF EXISTS "${tracesName(instanceId)}"`;
