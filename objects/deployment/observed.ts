import { type Instance, MAX_RESTART_COUNT, RETRY_DELAY_S } from "../../contract/deployment.ts";
import type { Exit, Observation } from "../../contract/workload.ts";
import { note } from "../note.ts";
import {
  askAfter,
  current,
  type Draft,
  end,
  idOf,
  replace,
  type SlotGeneration,
  stopServing,
  superseded,
} from "./draft.ts";

/** What was seen of an instance on its host, and what the deployment makes of it: the counting of deaths and failures is here. */
export type Report = SlotGeneration & { observation: Observation };

/** @param live whether the deployment is still reconciled; of one that is not, only the facts are noted */
export function onObserved(draft: Draft, hostId: string, report: Report, live: boolean): void {
  const { observation: seen } = report;
  if (seen.phase === "gone") {
    draft.leaving = draft.leaving.filter(
      (l) => !(l.host_id === hostId && l.slot === report.slot && l.generation <= report.generation),
    );
  }
  // Whatever is news of one that serves in another's place, it no longer does.
  if (seen.phase !== "running")
    stopServing(draft, (l) => l.host_id === hostId && l.slot === report.slot && l.generation === report.generation);
  const instance = current(draft, hostId, report);
  if (!instance || instance.phase === "placing" || instance.phase === "waiting" || instance.phase === "exited") return;
  const { slot, generation } = instance;
  const at = { slot, generation, host_id: hostId };
  if (seen.phase !== "gone") superseded(draft, instance);
  switch (seen.phase) {
    case "preparing":
      if (live && (instance.phase === "offered" || instance.phase === "starting")) {
        const since = instance.phase === "starting" ? instance.since : draft.facts.now;
        replace(draft, {
          ...at,
          phase: "starting",
          since,
          trouble: instance.trouble,
          message: seen.message,
          ask_at: draft.facts.now + askAfter(draft),
        });
      }
      return;
    case "running":
      if (instance.phase !== "running")
        note(draft, "info", "agent", "instance_running", `instance ${slot} runs (generation ${generation})`, at);
      replace(draft, {
        ...at,
        phase: "running",
        since: instance.phase === "running" ? instance.since : draft.facts.now,
        started_at: seen.started_at,
        address: seen.address,
        image_digest: seen.image_digest,
        notes: seen.notes,
        ports: seen.ports ?? [],
        health: instance.phase === "running" ? instance.health : [],
        cpu: instance.phase === "running" ? instance.cpu : null,
      });
      stopServing(draft, (l) => l.slot === slot);
      return;
    case "exited":
      onExit(draft, instance, seen.exit, live);
      return;
    case "gone":
      // Somebody else removed what should run: the same as a death without evidence.
      onExit(draft, instance, { code: null, signal: null, oom: false, at: seen.at, evidence: "lost" }, live);
      return;
    case "failed":
      onFailure(draft, instance, seen.failure, live);
      return;
    case "stopping":
      return;
  }
}

type Housed = Extract<Instance, { phase: "offered" | "starting" | "running" }>;

function onExit(draft: Draft, instance: Housed, exit: Exit, live: boolean): void {
  const { slot, generation, host_id } = instance;
  const how = exitText(exit);
  const ended: Instance = { phase: "exited", slot, generation, host_id, since: draft.facts.now, message: how, exit };
  if (!live) {
    replace(draft, ended);
    return;
  }
  if (draft.facts.kind === "job") {
    onJobExit(draft, instance, ended, exit, how);
    return;
  }
  draft.restarts += 1;
  note(draft, "warning", "agent", exit.oom ? "instance_oom" : "instance_died", `instance ${slot} ${how}`, {
    slot,
    generation,
    host_id,
    exit,
  });
  if (draft.restarts >= MAX_RESTART_COUNT) {
    replace(draft, ended);
    giveUp(draft, `instance ${slot} ${how}`);
    return;
  }
  const delay = RETRY_DELAY_S[draft.restarts - 1] ?? RETRY_DELAY_S[RETRY_DELAY_S.length - 1] ?? 16;
  waitForRetry(draft, instance, null, `instance ${slot} ${how}, starts again in ${delay} s`, delay);
}

function onJobExit(draft: Draft, instance: Housed, ended: Instance, exit: Exit, how: string): void {
  const { slot, generation } = instance;
  const data = { instance_id: idOf(draft.facts, slot, generation), exit };
  if (exit.code === 0 && exit.timed_out !== true) {
    replace(draft, ended);
    note(draft, "info", "agent", "job_completed", `the job ${how}`, data);
    end(draft, { status: "completed", reason: "completed", message: `the job ${how}`, exit });
    return;
  }
  note(draft, "error", "agent", exit.oom ? "instance_oom" : "job_failed", `the job ${how}`, data);
  // What became of a run without evidence is not known, and one that ran out of time would do so again.
  const again = exit.evidence === "kept" && exit.timed_out !== true && draft.retried < draft.facts.retries;
  if (again) {
    draft.retried += 1;
    const delay = RETRY_DELAY_S[Math.min(draft.retried, RETRY_DELAY_S.length) - 1] as number;
    const message = `the job ${how}; run ${draft.retried + 1} of ${draft.facts.retries + 1} begins in ${delay} s`;
    waitForRetry(draft, instance, null, message, delay);
    return;
  }
  replace(draft, ended);
  const reason = exit.timed_out ? "deadline_exceeded" : exit.evidence === "lost" ? "exit_unknown" : "job_failed";
  const runs = draft.retried === 0 ? "" : `, the last of ${draft.retried + 1} runs`;
  end(draft, { status: "failed", reason, message: `the job ${how}${runs}`, exit });
}

function onFailure(
  draft: Draft,
  instance: Housed,
  failure: Extract<Observation, { phase: "failed" }>["failure"],
  live: boolean,
): void {
  const { slot, generation, host_id } = instance;
  const ended: Instance = {
    phase: "exited",
    slot,
    generation,
    host_id,
    since: draft.facts.now,
    message: failure.message,
    exit: null,
  };
  if (!live) {
    replace(draft, ended);
    return;
  }
  // The first failure enters the status; what counts is a further attempt that fails again.
  if (!("trouble" in instance) || instance.trouble !== null) draft.restarts += 1;
  note(draft, "error", "agent", failure.reason, failure.message, { slot, generation, host_id, kind: failure.kind });
  if (draft.restarts >= MAX_RESTART_COUNT) {
    replace(draft, ended);
    giveUp(draft, failure.message);
    return;
  }
  const delay = RETRY_DELAY_S[draft.restarts] ?? 16;
  waitForRetry(draft, instance, failure.kind, `${failure.message}; next attempt in ${delay} s`, delay);
}

function waitForRetry(
  draft: Draft,
  instance: Housed,
  trouble: Extract<Instance, { phase: "waiting" }>["trouble"],
  message: string,
  delayS: number,
): void {
  const { slot, generation, host_id } = instance;
  const { now } = draft.facts;
  replace(draft, {
    phase: "waiting",
    slot,
    generation,
    host_id,
    since: now,
    trouble,
    message,
    retry_at: now + delayS * 1000,
  });
}

function giveUp(draft: Draft, last: string): void {
  const message = `given up after ${MAX_RESTART_COUNT} restarts: ${last}; apply a fixed manifest to start over`;
  const status = draft.facts.kind === "job" ? "failed" : "crash_loop_back_off";
  if (status === "failed") end(draft, { status, reason: "retries_exhausted", message, exit: null });
  else end(draft, { status, reason: status, message });
}

/** `exited with code 3`, `was killed by SIGKILL`, …: what follows "the job" or "instance 0". */
export function exitText(exit: Exit): string {
  if (exit.timed_out) return "ran out of time (`deadline`) and was killed";
  if (exit.oom) return "was killed: out of memory";
  if (exit.signal !== null) return `was killed by ${exit.signal}`;
  if (exit.code !== null) return `exited with code ${exit.code}`;
  return "is gone, and how it ended is not known";
}
