import { z } from "zod";

/** What may be asked of a resource now, by action; a refused one has a stable code and a sentence. It is made from the action tables. */
export const AllowedActions = z.record(
  z.string(),
  z.object({
    allowed: z.boolean(),
    mode: z
      .enum(["immediate", "queued"])
      .optional()
      .describe("Instances: now, or when a stable status is reached. Only when allowed"),
    code: z.string().optional(),
    reason: z.string().optional(),
  }),
);
export type AllowedActions = z.infer<typeof AllowedActions>;

/** In which statuses an action does something, and in which it has nothing left to do (success without work). */
export type ActionTable<Status extends string, Action extends string> = Record<
  Action,
  { readonly from: readonly Status[]; readonly already: readonly Status[] }
>;

/** The answer of a table: do it, it is done already, or it is refused. */
export function verdict<Status extends string, Action extends string>(
  table: ActionTable<Status, Action>,
  status: Status,
  action: Action,
): "go" | "already" | "refused" {
  const row = table[action];
  return row.from.includes(status) ? "go" : row.already.includes(status) ? "already" : "refused";
}

export function allowedActions<Status extends string, Action extends string>(
  table: ActionTable<Status, Action>,
  status: Status,
): AllowedActions {
  return Object.fromEntries(
    (Object.keys(table) as Action[]).map((action) => {
      const allowed = verdict(table, status, action) === "go";
      return [
        action,
        allowed ? { allowed } : { allowed, code: `status_${status}`, reason: `not possible while ${status}` },
      ];
    }),
  );
}
