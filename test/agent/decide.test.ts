import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { admit, isNews, nextStep, type State, staleGenerations } from "../../agent/decide.ts";
import type { Want } from "../../agent/ledger.ts";
import type { Observation, Runtime } from "../../contract/workload.ts";
import { spec } from "./workload.ts";

type Phase = Observation["phase"];

const observation = (phase: Phase, generation = 2): Observation => {
  const seen = { id: "w", generation, at: 1 };
  switch (phase) {
    case "preparing":
      return { ...seen, phase, message: "pulling" };
    case "running":
      return { ...seen, phase, started_at: 1, address: null, image_digest: null, notes: [] };
    case "exited":
      return { ...seen, phase, exit: { code: 0, signal: null, oom: false, at: 1, evidence: "kept" } };
    case "failed":
      return { ...seen, phase, failure: { kind: "error", reason: "r", message: "m" } };
    case "stopping":
    case "gone":
      return { ...seen, phase };
  }
};

const state = (want: Want, present: number[], seen: Phase | null, hasSpec = want !== "unclaimed"): State => ({
  id: "w",
  fence: 2,
  want,
  owner: "o",
  probing: "all",
  spec: hasSpec ? spec() : null,
  present: new Map(present.map((generation) => [generation, { runtime: "process" as Runtime, stopTimeoutMs: 5 }])),
  seen: seen === null ? null : observation(seen),
});

describe("admit", () => {
  test.each<[Want | null, number, "running" | "gone", ReturnType<typeof admit>]>([
    // kept at generation 2, command, answer
    [null, 1, "running", "take"],
    [null, 1, "gone", "take"],
    ["running", 1, "running", "stale"],
    ["running", 1, "gone", "stale"],
    ["running", 2, "running", "same"],
    ["running", 2, "gone", "take"],
    ["running", 3, "running", "take"],
    ["running", 3, "gone", "take"],
    ["gone", 1, "gone", "stale"],
    ["gone", 2, "gone", "same"],
    ["gone", 2, "running", "ended"],
    ["gone", 3, "running", "take"],
    ["absent", 1, "running", "stale"],
    ["absent", 2, "running", "take"],
    ["absent", 2, "gone", "take"],
    ["unclaimed", 1, "running", "stale"],
    ["unclaimed", 2, "running", "take"],
    ["unclaimed", 2, "gone", "take"],
  ])("kept %s at 2, told %i %s: %s", (want, generation, told, answer) => {
    const kept = want === null ? undefined : state(want, [], null);
    expect(admit(kept, { generation, want: told })).toBe(answer);
    // Which checks are to run makes a difference only to what is and stays wanted.
    const other = answer === "same" && told === "running" ? "probing" : answer;
    expect(admit(kept, { generation, want: told, probing: "readiness" })).toBe(other);
  });
});

describe("nextStep", () => {
  const remove = (generation: number, tell: boolean) => ({
    do: "remove",
    generation,
    runtime: "process",
    stopTimeoutMs: 5,
    tell,
  });

  test.each<[Want, number[], Phase | null, object]>([
    ["running", [], null, { do: "apply" }],
    ["running", [2], null, { do: "apply" }],
    ["running", [2], "preparing", { do: "apply" }],
    ["running", [2], "running", { do: "rest" }],
    ["running", [2], "exited", { do: "rest" }],
    ["running", [2], "failed", remove(2, false)],
    ["running", [], "failed", { do: "rest" }],
    ["running", [1, 2], "running", remove(1, false)],
    ["running", [1], null, remove(1, false)],
    ["gone", [2], "running", remove(2, true)],
    ["gone", [2], "exited", remove(2, false)],
    ["gone", [1, 2], "running", remove(1, false)],
    ["gone", [], "stopping", { do: "gone" }],
    ["gone", [], null, { do: "gone" }],
    ["gone", [], "gone", { do: "rest" }],
    ["absent", [2], null, remove(2, true)],
    ["absent", [], "running", { do: "gone" }],
    ["unclaimed", [1, 2], "running", { do: "rest" }],
    ["unclaimed", [2], "exited", { do: "rest" }],
  ])("%s with %j present, seen %s", (want, present, seen, step) => {
    expect(nextStep(state(want, present, seen))).toMatchObject(step);
  });
});

describe("isNews", () => {
  test.each<[Want, Phase | null, Phase, number, boolean]>([
    ["running", null, "running", 2, true],
    ["running", "preparing", "running", 2, true],
    ["running", "running", "exited", 2, true],
    ["running", "running", "failed", 2, true],
    ["running", "running", "running", 2, false],
    ["running", "running", "preparing", 2, false],
    ["running", "exited", "running", 2, false],
    ["running", "failed", "running", 2, false],
    ["running", null, "exited", 1, false],
    ["running", "running", "gone", 2, false],
    ["gone", "stopping", "exited", 2, false],
    ["absent", "running", "exited", 2, false],
    ["unclaimed", "running", "exited", 2, true],
  ])("%s, seen %s, then %s of generation %i: %s", (want, seen, phase, generation, news) => {
    expect(isNews(state(want, [2], seen), observation(phase, generation))).toBe(news);
  });
});

describe("any sequence of commands", () => {
  const command = fc.record({
    generation: fc.integer({ min: 1, max: 6 }),
    want: fc.constantFrom("running" as const, "gone" as const),
  });
  const event = fc.oneof(command, fc.constant("left-out" as const));

  test("never lowers the fence, never runs what was ended, and comes to rest with one generation at most", () => {
    let events = 0;
    fc.assert(
      fc.property(fc.array(event, { minLength: 1, maxLength: 30 }), (commands) => {
        let kept: State | undefined;
        const present = new Map<number, { runtime: Runtime; stopTimeoutMs: number }>();
        const ended = new Set<number>();
        for (const told of commands) {
          events++;
          const before = kept?.fence ?? 0;
          if (told === "left-out") {
            if (kept?.want === "running") kept = { ...kept, want: "absent" };
          } else if (admit(kept, told) === "take") {
            const same = kept?.fence === told.generation && told.want === "gone";
            kept = {
              id: "w",
              fence: told.generation,
              want: told.want,
              owner: "o",
              probing: "all",
              spec: spec(),
              present,
              seen: same ? (kept?.seen ?? null) : null,
            };
            if (told.want === "running") present.set(told.generation, { runtime: "process", stopTimeoutMs: 1 });
            else ended.add(told.generation);
          }
          if (!kept) continue;
          expect(kept.fence).toBeGreaterThanOrEqual(before);
          for (let steps = 0; ; steps++) {
            expect(steps).toBeLessThan(50);
            const step = nextStep(kept);
            if (step.do === "rest") break;
            if (step.do === "remove") present.delete(step.generation);
            if (step.do === "gone") kept = { ...kept, seen: observation("gone", kept.fence) };
            if (step.do === "apply") {
              // An older generation never stands beside the new one.
              expect([...present.keys()].every((generation) => generation === step.workload.generation)).toBe(true);
              expect(ended.has(step.workload.generation)).toBe(false);
              present.set(step.workload.generation, { runtime: "process", stopTimeoutMs: 1 });
              kept = { ...kept, seen: observation("running", kept.fence) };
            }
          }
          expect(staleGenerations(kept)).toEqual([]);
          expect([...present.keys()]).toEqual(kept.want === "running" ? [kept.fence] : []);
        }
      }),
      { numRuns: 17_000, seed: 20261121 },
    );
    expect(events).toBeGreaterThan(100_000);
  });
});
