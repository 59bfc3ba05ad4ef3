import { z } from "zod";
import { Scope } from "./scope.ts";

/** `lamp_<26 characters of the token's id>_<43 characters of secret>`. Only a SHA-256 of the secret is stored. */
export const TOKEN_PATTERN = /^lamp_([0-9a-z]{26})_([A-Za-z0-9_-]{43})$/;

export const TokenCreate = z.strictObject({
  name: z
    .string()
    .regex(/^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$/, "expected 1 to 63 letters, digits, `_`, `.` or `-`"),
  scopes: z.array(Scope).min(1, "expected at least one scope"),
  namespaces: z.array(z.string().min(1)).default([]),
  expire_at: z.iso.datetime({ offset: true }).nullish(),
});
export type TokenCreate = z.infer<typeof TokenCreate>;

/** Body of `POST /join-tokens`: a token with the single scope `hosts:join`, for `uses` hosts, short-lived. */
export const JoinTokenCreate = z.strictObject({
  /** Duration such as `30m`; one hour when left out, 7 days at most. */
  expires_in: z.string().default("1h"),
  uses: z.int().min(1).max(1000).default(1),
  /** Labels that every host that joins with it gets. */
  labels: z.record(z.string(), z.string()).default({}),
});
export type JoinTokenCreate = z.infer<typeof JoinTokenCreate>;

export const TokenView = z.object({
  id: z.string(),
  name: z.string(),
  token_prefix: z.string().describe("The first characters, to recognise it by"),
  scopes: z.array(Scope),
  namespaces: z.array(z.string()),
  created_at: z.iso.datetime(),
  expire_at: z.iso.datetime().nullable(),
  last_used_at: z.iso.datetime().nullable().describe("To the minute"),
  revoked_at: z.iso.datetime().nullable(),
  uses_left: z.int().nullable().describe("Join tokens only"),
  labels: z.record(z.string(), z.string()).describe("Join tokens only: given to the hosts that join"),
  user_id: z.string().nullable().describe("Whose it is: the user who made it, or nobody"),
  revision: z.int(),
});
export type TokenView = z.infer<typeof TokenView>;

/** The one answer that carries the secret: of create and of rotate. */
export const TokenCreated = TokenView.extend({
  token: z.string(),
  message: z.string().describe("That it is not shown again"),
});
export const SHOWN_ONCE = "Keep the token now: it is not shown again.";
export type TokenCreated = z.infer<typeof TokenCreated>;
