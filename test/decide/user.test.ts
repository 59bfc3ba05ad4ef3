import { expect, test } from "vitest";
import type { Principal } from "../../contract/scope.ts";
import { ROLE_SCOPES, type Role } from "../../contract/user.ts";
import {
  type Attempts,
  FORGOTTEN_MS,
  failed,
  keepsAnAdmin,
  openAt,
  permitChange,
  permitCreation,
  permitDeletion,
  SLOWING,
} from "../../objects/user/decide.ts";

const NOW = 1_000_000_000_000;
const session = (role: Role, user_id = "usr_me"): Principal => ({
  token_id: "tok_s",
  name: "session",
  scopes: [...ROLE_SCOPES[role]],
  namespaces: [],
  user_id,
  session: true,
});
const code = (reply: { ok: boolean; refusal?: { code: string } }) => (reply.ok ? "ok" : reply.refusal?.code);

test("delays double up to their most, and are forgotten after an hour", () => {
  let attempts: Attempts | null = null;
  const waits: number[] = [];
  let now = NOW;
  for (let i = 0; i < 14; i++) {
    attempts = failed(attempts, now);
    const at = openAt(attempts, SLOWING.user, now);
    waits.push(Math.max(0, at - now));
    now = Math.max(now, at);
  }
  expect(waits).toEqual([0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60].map((s) => s * 1000));
  expect(openAt(attempts, SLOWING.user, (attempts as Attempts).at + FORGOTTEN_MS)).toBe(0);
  expect(failed(attempts, (attempts as Attempts).at + FORGOTTEN_MS).failures).toBe(1);
});

test("whatever a stranger does, the next attempt is taken within a minute of the last one", () => {
  for (let failures = 0; failures < 5_000; failures += 7)
    expect(openAt({ failures, at: NOW }, SLOWING.user, NOW)).toBeLessThanOrEqual(NOW + 60_000);
});

test("a clock that was set back holds nobody off", () => {
  expect(openAt({ failures: 50, at: NOW + 86_400_000 }, SLOWING.address, NOW)).toBe(0);
});

test.each([
  ["an admin", session("admin", "usr_a"), {}, "ok"],
  ["the root token", { token_id: "root", name: "root", scopes: ["admin"], namespaces: [] }, { role: "admin" }, "ok"],
  ["the user, of their own", session("viewer"), { password: "x" }, "ok"],
  ["the user, a role", session("viewer"), { role: "admin" }, "insufficient_scope"],
  ["an operator, of another", session("operator", "usr_o"), { username: "x" }, "insufficient_scope"],
  ["a token of the user's", { ...session("viewer"), session: false }, { password: "x" }, "insufficient_scope"],
  ["a token for some namespaces", { ...session("admin", "usr_a"), namespaces: ["a"] }, {}, "namespace_not_permitted"],
] as [string, Principal, object, string][])("a change by %s", (_who, by, change, expected) => {
  expect(code(permitChange(by, "usr_me", change))).toBe(expected);
});

test("a deletion is for admins, and of others", () => {
  expect(code(permitDeletion(session("admin"), "usr_other"))).toBe("ok");
  expect(code(permitDeletion(session("admin"), "usr_me"))).toBe("not_permitted");
  expect(code(permitDeletion(session("operator"), "usr_other"))).toBe("insufficient_scope");
});

test("nobody makes a user who may more than they", () => {
  expect(code(permitCreation(session("admin"), "admin"))).toBe("ok");
  expect(code(permitCreation(session("operator"), "operator"))).toBe("ok");
  expect(code(permitCreation(session("operator"), "admin"))).toBe("insufficient_scope");
  expect(code(permitCreation({ ...session("admin"), namespaces: ["a"] }, "viewer"))).toBe("namespace_not_permitted");
});

test("the last admin stays one", () => {
  expect(code(keepsAnAdmin("admin", "viewer", 0))).toBe("last_admin");
  expect(code(keepsAnAdmin("admin", null, 0))).toBe("last_admin");
  expect(code(keepsAnAdmin("admin", "admin", 0))).toBe("ok");
  expect(code(keepsAnAdmin("admin", "viewer", 1))).toBe("ok");
  expect(code(keepsAnAdmin("viewer", null, 0))).toBe("ok");
});
