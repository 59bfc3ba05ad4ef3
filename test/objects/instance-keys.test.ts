import { expect, test } from "vitest";
import type { KeyView } from "../../contract/instance-key.ts";
import type { QuerySchema } from "../../contract/query-schema.ts";
import { built } from "../decide/driven-instance.ts";
import {
  act,
  events,
  instanceOf,
  make,
  mutation,
  programsSay,
  reach,
  report,
  reported,
  view,
  WELL,
  waitFor,
  withEngines,
} from "./instance-world.ts";

withEngines();

const schemaOf = (table: string, column: string): string =>
  JSON.stringify({
    tables: [{ name: table, columns: [{ name: column, type: { kind: "integer" } }], key: [0], relations: [] }],
  } satisfies QuerySchema);

/** Does what makes a build, of which these are the names that queries use. */
async function build(id: string, action: "provision" | "rebuild", names: string, hash: string): Promise<void> {
  programsSay((task) => (task.do === "build" ? null : WELL(task)));
  const before = (await view(id)).build_id;
  await act(id, action);
  const builder = await waitFor(id, 1);
  const half = Math.floor(names.length / 2);
  for (const [part, text] of [names.slice(0, half), names.slice(half)].entries())
    await report(builder, { kind: "artifact", hash, part, parts: 2, text });
  const said = built();
  if (said.kind !== "built" || !said.result.ok) throw new Error("it is a good build");
  await report(builder, { ...said, result: { ...said.result, query_schema: hash } });
  await reported();
  for (let i = 0; (await view(id)).build_id === before && i < 200; i++) await new Promise((go) => setTimeout(go, 20));
  await reach(id, "running");
}

const make_key = async (id: string, name: string, rows: Record<string, string>) =>
  instanceOf(id).createKey({ name, rows }, mutation(), []);
async function listed(id: string): Promise<KeyView[]> {
  const reply = await instanceOf(id).keys([]);
  if (!reply.ok) throw new Error(reply.refusal.detail);
  return JSON.parse(reply.value) as KeyView[];
}

test("filters are checked against the build that serves, and again when another takes over", async () => {
  const id = await make();
  // Nothing was built yet: how it is written is all that can be looked at.
  expect(await make_key(id, "torn", { users: "age >" })).toMatchObject({ refusal: { code: "validation_failed" } });
  expect((await make_key(id, "early", { users: "agee > 5" })).ok).toBe(true);
  await build(id, "provision", schemaOf("users", "age"), "1".repeat(64));
  expect((await view(id)).unusable_keys).toEqual(["early"]);
  expect(await listed(id)).toMatchObject([
    { name: "early", usable: false, problems: ["rows.users: 1:1 'users' has no field 'agee'; did you mean 'age'?"] },
  ]);
  const refused = await make_key(id, "bad", { users: 'ag > 5 OR age = "x"', usr: "1 = 1" });
  expect(refused).toMatchObject({
    refusal: {
      code: "validation_failed",
      violations: [
        { property_path: "rows.usr", code: "instance.key.unknown_table" },
        { property_path: "rows.users", code: "instance.key.unknown_field", line: 1, column: 1, nearest: ["age"] },
        { property_path: "rows.users", code: "instance.key.type_mismatch", line: 1, column: 17 },
        { property_path: "rows.usr", code: "instance.key.parse_error", line: 1, column: 1 },
      ],
    },
  });
  expect((await make_key(id, "good", { users: "age > 5" })).ok).toBe(true);
  expect((await view(id)).unusable_keys).toEqual(["early"]);
  // The table is called otherwise: to go on without the filter would open it.
  await build(id, "rebuild", schemaOf("people", "age"), "2".repeat(64));
  expect((await view(id)).unusable_keys).toEqual(["early", "good"]);
  const told = (await events(id)).filter(({ reason }) => reason === "key_misfits").map(({ data }) => data);
  expect(told.at(-1)).toMatchObject({
    name: "good",
    usable: false,
    problems: ["rows.users: the engine has no table 'users'"],
  });
  await build(id, "rebuild", schemaOf("users", "age"), "1".repeat(64));
  expect((await listed(id)).map(({ name, usable }) => [name, usable])).toEqual([
    ["early", false],
    ["good", true],
  ]);
  expect((await events(id)).at(-1)?.reason).toBeDefined();
  expect((await events(id)).some(({ reason }) => reason === "key_fits")).toBe(true);
});
