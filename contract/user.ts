import { z } from "zod";
import type { ScopeName } from "./scope.ts";

export const ROLES = ["admin", "operator", "viewer"] as const;
export const Role = z.enum(ROLES);
export type Role = z.infer<typeof Role>;

const VIEWER = [
  "deployments:read",
  "schedules:read",
  "namespaces:read",
  "configs:read",
  "secrets:read",
  "volumes:read",
  "databases:read",
  "webhooks:read",
  "hooks:read",
  "users:read",
  "hosts:read",
  "audit:read",
] as const satisfies readonly ScopeName[];

const OPERATOR = [
  ...VIEWER,
  "deployments:write",
  "schedules:write",
  "namespaces:write",
  "configs:write",
  "secrets:write",
  "volumes:write",
  "databases:write",
  "webhooks:write",
  "hooks:write",
] as const satisfies readonly ScopeName[];

/** What a session may do, frozen when it is made. Hosts, users and tokens are for admins to change. */
export const ROLE_SCOPES: Record<Role, readonly ScopeName[]> = {
  admin: ["admin"],
  operator: OPERATOR,
  viewer: VIEWER,
};

export const Username = z
  .string()
  .regex(
    /^[a-zA-Z0-9][a-zA-Z0-9._-]{1,49}$/,
    "expected 2 to 50 letters, digits, `.`, `_` or `-`, a letter or digit first",
  );
export const Password = z.string().min(8, "expected 8 to 128 characters").max(128, "expected 8 to 128 characters");

export const UserCreate = z.strictObject({
  username: Username,
  password: Password,
  role: Role.default("viewer"),
});
export type UserCreate = z.infer<typeof UserCreate>;

/** What is left out, or null, stays. */
export const UserUpdate = z.strictObject({
  username: Username.nullish(),
  password: Password.nullish(),
  role: Role.nullish(),
});
export type UserUpdate = z.infer<typeof UserUpdate>;

export const UserView = z.object({
  id: z.string(),
  username: z.string(),
  role: Role,
  status: z.literal("active"),
  created_at: z.iso.datetime(),
  updated_at: z.iso.datetime().nullable(),
  login_at: z.iso.datetime().nullable(),
  revision: z.int(),
});
export type UserView = z.infer<typeof UserView>;

/** Body of `POST /login`. Looser than what a user may be called: whatever is wrong, the answer is that it is wrong. */
export const Credentials = z.strictObject({
  username: z.string().min(1).max(200),
  password: z.string().min(1).max(1000),
});
export type Credentials = z.infer<typeof Credentials>;

/** A session ends after this long without use, and at the latest after that long in all, ms. */
export const SESSION_IDLE_MS = 30 * 86_400_000;
export const SESSION_MOST_MS = 90 * 86_400_000;

export const LoggedIn = z.object({
  token: z.string().describe("Send it as `Authorization: Bearer …`"),
  token_type: z.literal("Bearer"),
  expires_at: z.iso.datetime().describe("The latest end; without use for 30 days it ends earlier"),
  user: UserView,
});
export type LoggedIn = z.infer<typeof LoggedIn>;
