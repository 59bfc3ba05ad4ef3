import { type Runner, SLOT } from "../../contract/instance.ts";
import { SIZE } from "../../contract/instance-size.ts";
import { type Candidate, choose, type Need } from "../deployment/placement.ts";
import { note } from "../note.ts";
import { ASK_AGAIN_MS, type Draft, fail, leave, newRunner, replaceRunner, runnerAt, runnersOf } from "./draft.ts";
import { type Act, act } from "./operation.ts";

/** Between an instance and its hosts: choosing one, its answer, and having to leave it. */

const MiB = 1024 ** 2;
/** What a program beside its source, and a build reserve. */
const TEST_MEMORY = 128 * MiB;
const BUILD_MEMORY = 768 * MiB;
/** How rarely a workload without a host looks again by itself, ms. */
const LONGEST_RECHECK_MS = 60_000;

export type Answered = { slot: number; generation: number } & (
  | { accepted: true }
  | { accepted: false; message: string }
);
export type EvictionCause = "host_lost" | "host_draining" | "host_removed";

export function needOf(draft: Pick<Draft, "serving" | "candidate">, slot: number): Need {
  const of = { runtime: "process" as const, labels: {} };
  if (slot === SLOT.test || slot === SLOT.release) return { ...of, memory_bytes: TEST_MEMORY, cpu_millis: 0 };
  if (slot === SLOT.build) return { ...of, memory_bytes: BUILD_MEMORY, cpu_millis: 0 };
  const engine = [draft.serving, draft.candidate].find((one) => one?.runner.slot === slot);
  return { ...of, ...SIZE[engine?.settings.size ?? "nano"] };
}

/** Chooses a host for whatever looks for one: the one where it was before, if it can be. */
export function onHosts(draft: Draft, hosts: readonly Candidate[]): void {
  for (const runner of runnersOf(draft)) {
    if (runner.phase !== "placing") continue;
    const { slot, generation, since, refused } = runner;
    const { now, jitter } = draft.facts;
    const others = new Map(hosts.map(({ id }) => [id, id === draft.home ? 0 : 1]));
    const choice = choose(hosts, needOf(draft, slot), others, refused);
    if (choice.type === "chosen") {
      const { host_id } = choice;
      replaceRunner(draft, {
        slot,
        generation,
        since: now,
        phase: "offered",
        refused,
        host_id,
        ask_at: now + ASK_AGAIN_MS,
      });
      continue;
    }
    // A release waits for a host until its time is over.
    if (choice.impossible && slot !== SLOT.release && draft.serving?.runner !== runner) {
      fail(draft, "no_capacity", choice.message);
      return;
    }
    const wait = Math.min(Math.max(now - since, ASK_AGAIN_MS), LONGEST_RECHECK_MS) * (0.75 + jitter / 2);
    replaceRunner(draft, { ...runner, message: choice.message, recheck_at: now + Math.round(wait) });
  }
}

export function onAnswered(draft: Draft, hostId: string, answer: Answered): void {
  const runner = runnerAt(draft, answer.slot, answer.generation);
  if (runner?.phase !== "offered" || runner.host_id !== hostId) return;
  const { slot, generation, since, refused } = runner;
  const { now } = draft.facts;
  if (answer.accepted) {
    draft.home = hostId;
    replaceRunner(draft, {
      slot,
      generation,
      since,
      phase: "starting",
      host_id: hostId,
      ask_at: now + ASK_AGAIN_MS,
    });
    return;
  }
  replaceRunner(draft, {
    slot,
    generation,
    since,
    phase: "placing",
    refused: { ...refused, [hostId]: answer.message },
    message: "",
    recheck_at: now + ASK_AGAIN_MS,
  });
}

const WHY = {
  host_lost: "the host was lost",
  host_draining: "the host is drained",
  host_removed: "the host was removed",
} as const satisfies Record<EvictionCause, string>;

/** A workload cannot stay on its host. */
export function onEvicted(
  draft: Draft,
  hostId: string,
  why: EvictionCause,
  slot: { slot: number; generation: number },
): void {
  if (why === "host_removed")
    draft.leaving = draft.leaving.filter((one) => !(one.host_id === hostId && one.slot === slot.slot));
  const runner = runnerAt(draft, slot.slot, slot.generation);
  if (runner === null || runner.phase === "placing" || runner.host_id !== hostId) return;
  const isServing = draft.serving?.runner.slot === slot.slot;
  if (why === "host_draining") {
    // Its successor loads elsewhere first. What is only being tried, built or rolled out finishes there.
    const asked: Act = { action: "redeploy", actor: "host", by: "host", build_id: draft.serving?.build_id };
    if (isServing && draft.status === "running" && draft.facts.image !== null) act(draft, asked);
    return;
  }
  note(draft, "warning", "host", why, `${WHY[why]}: ${nameOf(draft, slot.slot)} is started elsewhere`, {
    host_id: hostId,
    ...slot,
  });
  if (why === "host_lost") leave(draft, runner);
  if (draft.home === hostId) draft.home = null;
  moved(draft, runner);
}

/** Callers have to be told of another endpoint; that it goes on answering at the same one is no news. */
export function onEndpoint(draft: Draft, { url, former }: { url: string | null; former: string | null }): void {
  if (url === former) return;
  const message =
    url === null
      ? `it is not queried at ${former} any more`
      : former === null
        ? `it is queried at ${url}`
        : `it is queried at ${url} now, and at ${former} no more`;
  note(draft, former === null ? "info" : "warning", "host", "endpoint_changed", message, { old: former, new: url });
}

function moved(draft: Draft, runner: Runner): void {
  if (draft.serving?.runner.slot === runner.slot) {
    draft.serving = { ...draft.serving, loaded: null };
    draft.replication = null;
  }
  replaceRunner(draft, newRunner(draft, runner.slot));
}

const nameOf = (draft: Draft, slot: number): string =>
  slot === SLOT.test
    ? "the test"
    : slot === SLOT.build
      ? "the build"
      : slot === SLOT.release
        ? "the release"
        : draft.serving?.runner.slot === slot
          ? "the engine"
          : "the new engine";
