import { z } from "zod";
import { AllowedActions } from "./action.ts";
import { DeploymentStatus } from "./deployment.ts";

const time = z.iso.datetime();

/** Why a deployment is as it is, what it waits for, and what comes next. */
export const Explanation = z.object({
  id: z.string(),
  status: DeploymentStatus,
  reason: z.string(),
  message: z.string(),
  revision: z.int(),
  terminal: z.boolean().describe("It is never looked at again: only deletion, or a mended manifest, ends this"),
  restart_count: z.int(),
  restarts_left: z.int().describe("How many more failures until it is given up"),
  waiting_for: z.array(
    z.object({
      instance: z.string(),
      for: z.string(),
      message: z.string(),
      until: time.nullable().describe("When it is looked at again if nothing is heard"),
    }),
  ),
  hosts: z
    .array(
      z.object({
        id: z.string(),
        name: z.string(),
        status: z.string(),
        message: z.string(),
        last_seen_at: time.nullable(),
      }),
    )
    .describe("The hosts that it is on; an instance of a silent one is as it was last seen"),
  next_deadline_at: time.nullable(),
  undelivered: z.array(
    z.object({
      about: z.string(),
      attempts: z.int(),
      last_error: z.string().nullable(),
      next_attempt_at: time,
    }),
  ),
  allowedActions: AllowedActions,
});
export type Explanation = z.infer<typeof Explanation>;
