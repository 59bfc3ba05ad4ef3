import { parseWorkloadId } from "../../contract/id.ts";
import { note } from "../note.ts";
import type { Answered, EvictionCause } from "./decide.ts";
import {
  ASK_AGAIN_MS,
  askAfter,
  current,
  type Draft,
  end,
  leave,
  placing,
  replace,
  type SlotGeneration,
  stopServing,
  superseded,
} from "./draft.ts";
import { type Candidate, choose } from "./placement.ts";
import { force } from "./rollout.ts";

/** Between a deployment and its hosts: choosing one, its answer, and having to leave it. */

/** How rarely a deployment without a host looks again by itself, ms. */
export const LONGEST_RECHECK_MS = 1_800_000;

/** Chooses a host for whatever looks for one, or notes why there is none. */
export function onHosts(draft: Draft, hosts: readonly Candidate[]): void {
  const { need, now, jitter } = draft.facts;
  const own = new Map<string, number>();
  for (const i of draft.instances)
    if (i.phase !== "placing" && i.phase !== "waiting") own.set(i.host_id, (own.get(i.host_id) ?? 0) + 1);
  // Several replicas are placed in one go: what the first ones take is no longer free for the next.
  const left = new Map(hosts.map((host) => [host.id, { ...host, reserved: { ...host.reserved } }]));
  let impossible: string | null = null;
  for (const instance of draft.instances) {
    if (instance.phase !== "placing" || instance.unresolved) continue;
    const choice = choose([...left.values()], need, own, instance.refused);
    const { slot, generation, trouble, refused } = instance;
    if (choice.type === "chosen") {
      own.set(choice.host_id, (own.get(choice.host_id) ?? 0) + 1);
      const host = left.get(choice.host_id);
      if (host) {
        host.reserved.memory_bytes += need.memory_bytes;
        host.reserved.cpu_millis += need.cpu_millis;
      }
      replace(draft, {
        phase: "offered",
        slot,
        generation,
        trouble,
        refused,
        since: now,
        host_id: choice.host_id,
        ask_at: now + ASK_AGAIN_MS,
      });
    } else {
      if (choice.impossible) impossible = choice.message;
      // It is told when a host changes; looking again by itself is the net below that, and the longer it has waited the wider.
      const wait = Math.min(Math.max(now - instance.since, 2 * ASK_AGAIN_MS), LONGEST_RECHECK_MS) * (0.75 + jitter / 2);
      replace(draft, { ...instance, message: choice.message, recheck_at: now + Math.round(wait) });
    }
  }
  const { rollout } = draft;
  if (rollout.role === "child" && rollout.blocked && isUnplaced(draft)) {
    const message = `a published port is held by ${rollout.parents[0]?.id}, and no other host has room: it is stopped first, with downtime`;
    force(draft, "force_replace", message);
  }
  if (impossible !== null && !draft.instances.some((i) => i.phase === "running")) {
    note(draft, "error", "scheduler", "insufficient_resources", impossible);
    end(draft, { status: "insufficient_resources", reason: "insufficient_resources", message: impossible });
  }
}

/** What a host said to an offer. */
export function onAnswered(draft: Draft, hostId: string, answer: Answered): void {
  const instance = current(draft, hostId, answer);
  if (instance?.phase !== "offered") return;
  const { slot, generation, trouble } = instance;
  const { now } = draft.facts;
  if (answer.accepted) {
    superseded(draft, instance);
    replace(draft, {
      phase: "starting",
      slot,
      generation,
      trouble,
      since: now,
      host_id: hostId,
      message: "",
      ask_at: now + askAfter(draft),
    });
  } else {
    const refused = { ...instance.refused, [hostId]: answer.message };
    noteHolder(draft, answer.holder);
    replace(draft, {
      phase: "placing",
      slot,
      generation,
      trouble,
      since: instance.since,
      refused,
      message: "",
      recheck_at: now + ASK_AGAIN_MS,
      unresolved: false,
    });
  }
}

/** An instance cannot stay on its host. */
export function onEvicted(draft: Draft, hostId: string, slot: SlotGeneration, why: EvictionCause, live: boolean): void {
  if (why === "host_removed") {
    draft.leaving = draft.leaving.filter(
      (l) => !(l.host_id === hostId && l.slot === slot.slot && l.generation <= slot.generation),
    );
  }
  if (why !== "host_draining") stopServing(draft, (l) => l.host_id === hostId && l.slot === slot.slot);
  const instance = current(draft, hostId, slot);
  if (!instance || instance.phase === "placing" || instance.phase === "exited") return;
  // A job that runs is left to finish; draining waits for it.
  if (why === "host_draining" && (draft.facts.kind === "job" || instance.phase === "waiting")) return;
  const text = {
    host_lost: "the host was lost",
    host_draining: "the host is drained",
    host_removed: "the host was removed",
  }[why];
  if (why !== "host_removed") leave(draft, instance, live && why === "host_draining" && instance.phase === "running");
  if (!live) {
    draft.instances = draft.instances.filter((i) => i.slot !== instance.slot);
    return;
  }
  if (draft.facts.kind === "job" && instance.phase !== "waiting") {
    const message = `${text} while the job was there; whether it finished is unknown. Apply it again to run it again`;
    note(draft, "error", "host", why, message, slot);
    draft.instances = draft.instances.filter((i) => i.slot !== instance.slot);
    end(draft, { status: "failed", reason: why, message, exit: null });
    return;
  }
  note(draft, "warning", "host", why, `${text}: instance ${slot.slot} moves`, { ...slot, host_id: hostId });
  replace(draft, placing(draft, instance.slot, "trouble" in instance ? instance.trouble : null));
}

/** The port that a child needs is held by one of its own parents there. With `max_unavailable` the parent makes way anyway. */
function noteHolder(draft: Draft, holder: string | undefined): void {
  const { rollout } = draft;
  const owner = holder === undefined ? undefined : parseWorkloadId(holder)?.owner;
  if (rollout.role !== "child" || draft.facts.max_unavailable > 0) return;
  if (rollout.parents.some(({ id }) => id === owner)) draft.rollout = { ...rollout, blocked: true };
}

const isUnplaced = (draft: Draft): boolean =>
  draft.instances.some((instance) => instance.phase === "placing" && !instance.unresolved && instance.message !== "");
