import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isDue, judge, NEW_RUN, nextProbe, type Probed, type Run } from "../../agent/health/decide.ts";
import type { Tally } from "../../agent/ledger.ts";
import type { HealthResult, Probe } from "../../contract/health.ts";

const probe = (over: Partial<Probe> = {}): Probe =>
  ({
    type: "tcp",
    port: 80,
    interval_ms: 1_000,
    timeout_ms: 100,
    threshold: 3,
    readiness: true,
    min_healthy_ms: 2_500,
    start_period_ms: 0,
    ...over,
  }) as Probe;

type Step = { at: number; ok?: boolean; status?: HealthResult["status"]; clock?: number };

/** Probes one check at these moments (ms since the instance was started), as the agent would; each takes 10 ms. */
function play(check: Probe, steps: Step[], from: { tally: Tally | null; run: Run } = { tally: null, run: NEW_RUN }) {
  let { tally, run } = from;
  const told: HealthResult[] = [];
  /** What a restart finds on disk. */
  let kept = tally;
  let ended: number | null = null;
  for (const { at, ok = true, status = ok ? "success" : "failed", clock = at } of steps) {
    const probed: Probed = {
      id: "w",
      generation: 1,
      check: 0,
      outcome: { status, message: "" },
      start: at,
      end: at + 10,
      started_at: 1_000_000 + clock,
      finished_at: 1_000_010 + clock,
      age: at,
      gap: ended === null ? 0 : at - ended,
    };
    const judged = judge(check, tally, run, probed);
    ({ tally, run } = judged);
    ended = probed.end;
    if (judged.isNews) told.push(judged.tally.told);
    if (judged.isKept) kept = tally;
    expect(judged.isKept || !judged.isNews).toBe(true);
  }
  return { tally: tally as Tally, kept, run, told, says: told.map((it) => `${it.status} ${it.healthy} ${it.tripped}`) };
}

const every = (ms: number, oks: boolean[], from = 0): Step[] => oks.map((ok, i) => ({ at: from + i * ms, ok }));

describe("health", () => {
  test("it is healthy when it has been green for long enough, and a red one begins it anew", () => {
    const { says } = play(probe(), every(1_000, [true, true, false, true, true, true, true]));
    expect(says).toEqual(["success false 0", "failed false 0", "success false 0", "success true 0"]);
  });

  test("without a minimum the first green one is healthy", () => {
    expect(play(probe({ min_healthy_ms: 0 }), every(1_000, [true, true])).says).toEqual(["success true 0"]);
  });

  test("nobody having looked for long breaks it; a little late does not", () => {
    const late = [...every(1_000, [true, true]), { at: 3_100 }];
    expect(play(probe(), late).says.at(-1)).toBe("success true 0");
    const gap = [...every(1_000, [true, true]), { at: 3_200 }, { at: 4_200 }, { at: 5_700 }];
    expect(play(probe(), gap).says).toEqual(["success false 0", "success true 0"]);
    const after = [...every(1_000, [true, true, true, true]), { at: 6_000 }, { at: 7_000 }, { at: 8_600 }];
    expect(play(probe(), after).says).toEqual([
      "success false 0",
      "success true 0",
      "success false 0",
      "success true 0",
    ]);
  });

  test("each multiple of the threshold trips once more, and is told", () => {
    const { told, tally } = play(probe(), every(1_000, Array(7).fill(false)));
    expect(told.map(({ streak, tripped }) => [streak, tripped])).toEqual([
      [1, 0],
      [3, 1],
      [6, 2],
    ]);
    expect(tally).toMatchObject({ toward: 1, last: { streak: 7, tripped: 2 }, green: false, ready: false });
  });

  test("a green one between forgives what counted, not what was reached", () => {
    const { tally } = play(probe(), every(1_000, [false, false, false, false, false, true, false, false]));
    expect(tally).toMatchObject({ toward: 2, last: { tripped: 1, streak: 2 } });
  });

  test("a timeout is another status than a failure, and the streak goes on", () => {
    const { told } = play(probe(), [
      { at: 0, status: "timeout" },
      { at: 1_000, status: "failed" },
      { at: 2_000, status: "timeout" },
    ]);
    expect(told.map(({ status, streak, tripped }) => [status, streak, tripped])).toEqual([
      ["timeout", 1, 0],
      ["failed", 2, 0],
      ["timeout", 3, 1],
    ]);
  });

  test("failures in the start period are told and do not count; nor do probes before their time", () => {
    const slow = probe({ start_period_ms: 2_500, threshold: 2 });
    expect(
      play(slow, every(1_000, Array(5).fill(false))).told.map(({ started_at, tripped }) => [started_at, tripped]),
    ).toEqual([
      [1_000_000, 0],
      [1_004_000, 1],
    ]);
    const early = every(250, Array(8).fill(false));
    expect(play(probe({ threshold: 2 }), early).told.map(({ started_at }) => started_at - 1_000_000)).toEqual([
      0, 1_000,
    ]);
  });

  test("results stay in order though the clock is set back", () => {
    const { told } = play(probe(), [
      { at: 0 },
      { at: 1_000, ok: false, clock: -60_000 },
      { at: 2_000, clock: -59_000 },
    ]);
    const finished = told.map(({ finished_at }) => finished_at);
    expect(finished).toEqual([...finished].sort((a, b) => a - b));
    expect(new Set(finished).size).toBe(3);
    for (const { started_at, finished_at } of told) expect(started_at).toBeLessThanOrEqual(finished_at);
  });

  test("the agent's restart between any two probes changes no count", () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { minLength: 2, maxLength: 30 }), fc.nat(), (oks, cut) => {
        const steps = every(1_000, oks);
        const at = 1 + (cut % (oks.length - 1));
        const whole = play(probe({ min_healthy_ms: 0 }), steps);
        const first = play(probe({ min_healthy_ms: 0 }), steps.slice(0, at));
        const second = play(probe({ min_healthy_ms: 0 }), steps.slice(at), { tally: first.kept, run: NEW_RUN });
        const counts = ({ tally }: typeof whole) => [tally.toward, tally.last.tripped, tally.green, tally.ready];
        expect(counts(second)).toEqual(counts(whole));
        if (!whole.tally.last.healthy) expect(second.tally.last.streak).toBe(whole.tally.last.streak);
        expect([...first.says, ...second.says]).toEqual(whole.says);
      }),
    );
  });

  test("a restart takes nothing from what is healthy, and nothing is carried over of what is not yet", () => {
    const two = play(probe(), every(1_000, [true, true]));
    expect(play(probe(), [{ at: 3_000 }, { at: 4_000 }], { ...two, run: NEW_RUN }).says).toEqual([]);
    const four = play(probe(), every(1_000, [true, true, true, true]));
    expect(play(probe(), [{ at: 4_000 }], { ...four, run: NEW_RUN }).says).toEqual([]);
  });

  test("whatever comes, it only trips upwards, by failures that are a threshold apart", () => {
    const step = fc.record({ wait: fc.integer({ min: 10, max: 5_000 }), ok: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 1, max: 4 }), (waits, threshold) => {
        let at = 0;
        const steps = waits.map(({ wait, ok }) => {
          at += wait;
          return { at, ok };
        });
        const { told } = play(probe({ threshold }), steps);
        const failures = steps.filter(({ ok }) => !ok).length;
        const tripped = told.map((result) => result.tripped);
        expect(tripped).toEqual([...tripped].sort((a, b) => a - b));
        expect(tripped.at(-1) ?? 0).toBeLessThanOrEqual(Math.floor(failures / threshold));
        for (const result of told) if (result.healthy) expect(result.status).toBe("success");
      }),
    );
  });
});

describe("the next probe", () => {
  test("comes early until the first green one, later and later", () => {
    let run = NEW_RUN;
    const delays: number[] = [];
    for (let i = 0; i < 4; i++) {
      const [at, next] = nextProbe(probe({ interval_ms: 10_000 }), null, run, 0, 5);
      run = next;
      delays.push(at);
    }
    expect(delays).toEqual([255, 500, 1_000, 1_000]);
    expect(nextProbe(probe({ interval_ms: 100 }), null, NEW_RUN, 0, 5)[0]).toBe(105);
    expect(nextProbe(probe({ readiness: false }), null, NEW_RUN, 0, 5)[0]).toBe(1_000);
  });

  test("comes when it will have been green for long enough, then at the interval from start to start, never before the last is over", () => {
    const check = probe({ interval_ms: 30_000 });
    const first = play(check, [{ at: 0 }]);
    expect(nextProbe(check, first.tally, first.run, 0, 10)[0]).toBe(2_510);
    const healthy = play(check, [{ at: 0 }, { at: 2_510 }]);
    expect(healthy.tally.last.healthy).toBe(true);
    expect(nextProbe(check, healthy.tally, healthy.run, 2_510, 2_520)[0]).toBe(32_510);
    expect(nextProbe(check, healthy.tally, healthy.run, 0, 40_000)[0]).toBe(40_000);
  });
});

test("only readiness checks run at first, and the others wait until those have held once", () => {
  const probes = [probe(), probe({ readiness: false }), probe()];
  const ready = { ready: true } as Tally;
  const due = (tallies: (Tally | null)[], probing: "readiness" | "all") =>
    probes.map((_, i) => isDue(i, probes, tallies, probing));
  expect(due([null, null, null], "readiness")).toEqual([true, false, true]);
  expect(due([ready, null, ready], "readiness")).toEqual([true, false, true]);
  expect(due([ready, null, null], "all")).toEqual([true, false, true]);
  expect(due([ready, null, ready], "all")).toEqual([true, true, true]);
  expect(isDue(0, [probe({ readiness: false })], [null], "all")).toBe(true);
  expect(isDue(0, [probe({ readiness: false })], [null], "readiness")).toBe(false);
});
