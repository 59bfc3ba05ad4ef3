import { z } from "zod";
import { UserId } from "../../contract/id.ts";
import type { Violation } from "../../contract/problem.ts";
import { UserCreate, UserUpdate, UserView } from "../../contract/user.ts";
import { CLUSTER_SHARD } from "../../objects/projection.ts";
import { forgetUser } from "../access.ts";
import { conditional, resource } from "../answer.ts";
import { USER } from "../example.ts";
import { listRows, pageAnswer } from "../listing.ts";
import { fail, unwrap } from "../problem.ts";
import { limit } from "../query.ts";
import { type Ask, route } from "../route.ts";
import { call } from "../stub.ts";
import { userDirectory } from "../user-directory.ts";
import { checkBody } from "../violations.ts";

const params = { id: UserId };
const CODES: Record<string, string> = {
  username: "user.username.format",
  password: "user.password.length",
  role: "user.role.unknown",
};

/** The violations under codes of this noun, and the role's in Ring's words. */
const checkUser =
  <T>(schema: z.ZodType<T>) =>
  (body: unknown): { ok: true; value: T } | { ok: false; violations: Violation[] } => {
    const checked = checkBody(schema, body);
    if (checked.ok) return checked;
    const known = (v: Violation): Violation => {
      if (v.code === "unknown_field" || v.code === "required") return v;
      const message = v.property_path === "role" ? "Unknown role: expected admin, operator or viewer" : v.message;
      return { ...v, message, code: CODES[v.property_path] ?? v.code };
    };
    return { ok: false, violations: checked.violations.map(known) };
  };

export const USERS = [
  route({
    method: "POST",
    path: "/users",
    access: "users:write",
    group: "Users",
    summary: "Make a user",
    description:
      "A `viewer` unless `role` says otherwise. What the role may do must lie within your own scopes. Usernames are unique, whatever the case of their letters.",
    body: {
      schema: UserCreate,
      check: checkUser(UserCreate),
      example: { username: "ada", password: "correct horse battery", role: "operator" },
    },
    mutation: ["idempotency"],
    answers: {
      201: { description: "Made", schema: UserView, example: USER, headers: { Location: "Address of the user" } },
    },
    problems: ["name_taken", "namespace_not_permitted"],
    handle: async (ask) => {
      const mutation = await ask.mutation();
      const answer = unwrap(
        await call(userDirectory(ask.env), (users) => users.create(ask.body, mutation, ask.principal)),
      );
      const { id } = JSON.parse(answer.body) as UserView;
      return resource(answer, { location: `${ask.prefix}/users/${id}` });
    },
  }),
  route({
    method: "GET",
    path: "/users",
    access: "users:read",
    group: "Users",
    summary: "List users",
    description: "Newest first.",
    query: z.object({
      limit: limit(1000, 1000),
      cursor: UserId.optional().describe("From the `Link` header of the page before"),
    }),
    answers: {
      200: {
        description: "One page",
        schema: z.array(UserView),
        example: [USER],
        headers: { Link: '`<…>; rel="next"` when there are more' },
      },
    },
    handle: async (ask) => {
      const { cursor = null, limit } = ask.query;
      const none = { namespaces: [], names: [], statuses: [], types: [], labels: [] };
      return pageAnswer(
        ask,
        await listRows(ask.env, [CLUSTER_SHARD], { kind: "user", ...none, before: cursor, limit }),
      );
    },
  }),
  route({
    method: "GET",
    path: "/users/me",
    access: "users:read",
    group: "Users",
    summary: "Read the user whose token it is",
    answers: {
      200: { description: "You", schema: UserView, example: USER },
      304: { description: "`If-None-Match` names its revision" },
    },
    problems: ["not_found"],
    handle: (ask) => {
      const { user_id } = ask.principal;
      return user_id === undefined ? fail("not_found", "This token is no user's.") : readUser(ask, user_id);
    },
  }),
  route({
    method: "GET",
    path: "/users/:id",
    access: "users:read",
    group: "Users",
    summary: "Read a user",
    params,
    answers: {
      200: { description: "The user", schema: UserView, example: USER },
      304: { description: "`If-None-Match` names its revision" },
    },
    handle: (ask) => readUser(ask, ask.params.id as string),
  }),
  route({
    method: "PUT",
    path: "/users/:id",
    access: "users:read",
    group: "Users",
    summary: "Change a user",
    description:
      "What is left out stays. Users change their own name and password in a session of theirs; the rest is for admins. A new role ends all sessions of the user and all tokens made with them; a new password all sessions but the one that asks.",
    params,
    body: {
      schema: UserUpdate,
      check: checkUser(UserUpdate),
      example: { password: "correct horse battery staple", role: "viewer" },
    },
    mutation: ["idempotency", "if-match"],
    answers: { 200: { description: "Changed", schema: UserView, example: USER } },
    problems: ["name_taken", "last_admin", "namespace_not_permitted"],
    handle: async (ask) => {
      const id = ask.params.id as string;
      const mutation = await ask.mutation();
      const answer = unwrap(
        await call(userDirectory(ask.env), (users) => users.update(id, ask.body, mutation, ask.principal)),
      );
      forgetUser(id);
      return resource(answer);
    },
  }),
  route({
    method: "DELETE",
    path: "/users/:id",
    access: "users:read",
    group: "Users",
    summary: "Delete a user",
    description: "For admins, and of others only. All sessions of the user end, and all tokens made with them.",
    params,
    mutation: ["idempotency", "if-match"],
    answers: { 204: { description: "Deleted" } },
    problems: ["last_admin", "not_permitted", "namespace_not_permitted"],
    handle: async (ask) => {
      const id = ask.params.id as string;
      const mutation = await ask.mutation();
      const answer = unwrap(await call(userDirectory(ask.env), (users) => users.delete(id, mutation, ask.principal)));
      forgetUser(id);
      return resource(answer);
    },
  }),
];

async function readUser(ask: Ask, id: string): Promise<Response> {
  return conditional(ask.request, unwrap(await call(userDirectory(ask.env), (users) => users.read(id))));
}
