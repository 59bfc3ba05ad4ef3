import { z } from "zod";

/** `reflexdb.yaml`: which part of a schema an engine has, and under which names. Without the file: everything. */
const strings = z.array(z.string().min(1));
const name = z.string().regex(/^[\p{L}_][\p{L}\p{N}_]*$/u, "expected a name of letters, digits and _");

export const ReflexTable = z.strictObject({
  name: z.string().min(1).describe("The table's name in the source"),
  alias: name.optional().describe("How queries call it"),
  columns: strings.min(1).optional().describe("Those that are to be seen; all when absent"),
  where: z.string().min(1).optional().describe("Instead of the global one"),
  relations: z.strictObject({ include: strings.optional(), exclude: strings.optional() }).optional(),
  reverse_relations: z.strictObject({ exclude: strings.optional() }).optional(),
  field_aliases: z.record(z.string(), name).optional(),
  field_notes: z.record(z.string(), z.string()).optional(),
});
export type ReflexTable = z.infer<typeof ReflexTable>;

export const ReflexConfig = z.strictObject({
  version: z.literal(1, "expected 1"),
  where: z
    .string()
    .min(1)
    .optional()
    .describe("Rows that do not meet this are left out, in tables that have all of where_columns"),
  where_columns: strings.optional(),
  tables: z.array(ReflexTable).min(1).optional().describe("Tables that are not listed are left out; all when absent"),
  sync: z
    .strictObject({
      interval: z.int().min(1).max(3600).optional().describe("Seconds"),
      safety_net: z.int().min(10).optional().describe("Seconds between full reloads although changes are followed"),
    })
    .optional(),
  cdc_reconnect_mode: z.enum(["full", "resume"]).optional(),
});
export type ReflexConfig = z.infer<typeof ReflexConfig>;

/** One thing wrong in the file. Lines and columns are from 1. */
export const ConfigProblem = z.object({
  code: z.string(),
  message: z.string(),
  path: z.string(),
  line: z.int(),
  column: z.int(),
  nearest: z.array(z.string()),
});
export type ConfigProblem = z.infer<typeof ConfigProblem>;

/** What is wrong, and what may have been meant. */
export const problemText = ({ message, nearest: [near] }: Pick<ConfigProblem, "message" | "nearest">): string =>
  near === undefined ? message : `${message}; did you mean '${near}'?`;
