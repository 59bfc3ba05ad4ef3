import { expect, test } from "vitest";
import { built, POSTGRES_TEST } from "../decide/driven-instance.ts";
import { act, events, make, programsSay, reach, until, view, withEngines, workload } from "./instance-world.ts";

withEngines();

test("an instance that failed sends a program to its source, is told that nothing is left there, and can be deleted", async () => {
  let released = 0;
  programsSay((task) => {
    if (task.do === "test") return { kind: "tested", test: POSTGRES_TEST };
    if (task.do === "build") return built();
    if (task.do === "serve") return { kind: "failed", code: "auth_failed", message: "the source refused it" };
    released++;
    return { kind: "released", left: [] };
  });
  const id = await make();
  await act(id, "provision");
  await reach(id, "failed");
  const cleared = await until(async () => {
    const present = await view(id);
    return present.allowedActions.delete?.allowed && present;
  }, "nothing is left");
  expect(cleared).toMatchObject({ status: "failed", last_error: { code: "auth_failed" } });
  expect([released, (await events(id)).some(({ reason }) => reason === "left_at_source")]).toEqual([1, false]);
  await until(() => workload(id, 5) === undefined, "the program is gone");
});
