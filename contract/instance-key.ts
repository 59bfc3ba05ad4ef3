import { z } from "zod";

/** A key of an instance as its engine knows it: a request shows `rxk_<id>.<hmac>`, the HMAC-SHA-256 of the id under the instance's own secret. */
export const EngineKey = z.object({
  id: z.string(),
  /** API names of tables; null: all. */
  tables: z.array(z.string()).nullable(),
  /** Per table, a filter that its rows must meet, whichever way they are reached. */
  rows: z.record(z.string(), z.string()),
  /** ms since 1970. */
  expires_at: z.int().nullable(),
  /** Requests a second, with bursts of as many. */
  rate: z.number().positive().nullable(),
});
export type EngineKey = z.infer<typeof EngineKey>;

export const KeyCreate = z.strictObject({
  name: z.string().min(1).max(100),
  tables: z.array(z.string().min(1).max(128)).min(1).max(1000).nullish().describe("Only these; left out: all"),
  rows: z
    .record(z.string().min(1).max(128), z.string().min(1).max(4000))
    .default({})
    .describe("Per table, a filter in the query language that its rows must meet"),
  expires_at: z.iso.datetime({ offset: true }).nullish().describe("Left out: never"),
  rate: z.number().positive().max(1_000_000).nullish().describe("Requests a second"),
});
export type KeyCreate = z.infer<typeof KeyCreate>;

export const KeyView = EngineKey.omit({ expires_at: true }).extend({
  name: z.string(),
  expires_at: z.iso.datetime().nullable(),
  created_at: z.iso.datetime(),
  usable: z
    .boolean()
    .describe(
      "False: a filter of it does not fit the schema of the build that serves, so that it opens nothing until one serves that it fits",
    ),
  problems: z.array(z.string()).describe("What of it names what the build that serves does not have"),
});
export type KeyView = z.infer<typeof KeyView>;

/** The one answer that carries the key. */
export const KeyCreated = KeyView.extend({ key: z.string(), message: z.string() });
export type KeyCreated = z.infer<typeof KeyCreated>;
