import { expect, test } from "vitest";
import { instanceId } from "../../contract/id.ts";
import type { LogLine } from "../../contract/workload.ts";
import {
  act,
  agent,
  instanceOf,
  make,
  programsSay,
  reach,
  reported,
  until,
  view,
  WELL,
  withEngines,
  workload,
} from "./instance-world.ts";

withEngines();

const line = (instance: string, message: string): LogLine => ({
  ...{ instance, message, stream: "stderr", level: "error", timestamp: new Date().toISOString() },
});
async function state(id: string, what: { build: string | null; failed: boolean }) {
  const reply = await instanceOf(id).logState([], what);
  if (!reply.ok) throw new Error(reply.refusal.detail);
  return reply.value;
}
const messages = (kept: string | null): string[] => (JSON.parse(kept ?? "[]") as LogLine[]).map((one) => one.message);

test("the last lines of an engine that failed are kept when nothing of it is left on its host", async () => {
  const usual = agent.answers;
  agent.answers = (question) => {
    if (question.verb !== "logs") return usual(question);
    const { workload_id, generation } = question.query;
    const own = instanceId(workload_id, generation);
    // Its host has the log of the slot over its generations.
    return [
      line(instanceId(workload_id, generation - 1), "of another"),
      ...Array.from({ length: 250 }, (_, i) => line(own, `line ${i}`)),
      line(own, JSON.stringify({ level: "error", code: "auth_failed", text: `the source refused ${workload_id}` })),
    ];
  };
  programsSay(WELL);
  const id = await make();
  await act(id, "provision");
  await reach(id, "running");
  await reported();
  expect((await view(id)).failed_engine).toBe(null);

  programsSay((task) =>
    task.do === "serve" ? { kind: "failed", code: "auth_failed", message: "the source refused it" } : WELL(task),
  );
  await act(id, "redeploy");
  const failed = await until(async () => (await view(id)).failed_engine, "the log is kept");
  expect(failed.log.slice(-2)).toEqual(["line 249", `the source refused ${id}-3`]);
  expect(failed.log).toHaveLength(10);
  await until(() => workload(id, 3) === undefined, "nothing of it is left on its host");
  // The engine that serves has its own log, on its host.
  expect(await state(id, { build: null, failed: false })).toMatchObject({ kept: null, place: { host_id: agent.id } });
  const kept = await state(id, { build: null, failed: true });
  expect(kept.over).toBe(true);
  expect(messages(kept.kept)).toHaveLength(200);
  expect(messages(kept.kept)).not.toContain("of another");

  // When nothing serves any more, it is what the log of the instance is.
  await act(id, "pause");
  await reach(id, "paused");
  await act(id, "resume");
  await reach(id, "failed");
  const last = await until(async () => {
    const { failed_engine } = await view(id);
    return failed_engine?.generation !== failed.generation && failed_engine;
  }, "the log of the next is kept");
  const now = await until(async () => {
    const read = await state(id, { build: null, failed: false });
    return read.kept !== null && read;
  }, "it can be read");
  expect(now.place?.generation).toBe(last.generation);
  agent.answers = usual;
});
