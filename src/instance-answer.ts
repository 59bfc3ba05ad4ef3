import { z } from "zod";
import { AllowedActions } from "../contract/action.ts";

/** What an action answers by the source's own path. */
export const ActionAnswer = z.object({
  status: z.string(),
  desiredState: z.string().nullable(),
  mode: z.enum(["immediate", "queued"]),
  replication_paused: z.boolean().optional(),
  allowedActions: AllowedActions,
});
