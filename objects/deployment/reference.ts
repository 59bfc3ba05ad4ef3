import { note } from "../note.ts";
import { ASK_AGAIN_MS, type Draft, leave, placing, replace, type SlotGeneration } from "./draft.ts";

/** How long what is missing is waited for before it is looked for again, ms; whoever makes it tells the deployment at once. */
const LOOK_AGAIN_MS = 1_800_000;

/**
 * What the manifest refers to is not there, so that no host can be asked. It is waited for: nothing was attempted on any host, and so nothing counts
 * towards giving up.
 */
export function onUnresolved(draft: Draft, slots: readonly SlotGeneration[], message: string): void {
  const { now, jitter } = draft.facts;
  let isNews = false;
  for (const { slot, generation } of slots) {
    const instance = draft.instances.find((i) => i.slot === slot && i.generation === generation);
    if (instance?.phase !== "offered" && instance?.phase !== "placing") continue;
    isNews ||= instance.trouble !== "config_error";
    // The host of an offered one may have been asked before, and have taken it.
    leave(draft, instance);
    replace(draft, {
      ...(instance.phase === "placing" ? instance : placing(draft, slot, null)),
      trouble: "config_error",
      refused: {},
      message,
      unresolved: true,
      recheck_at: now + Math.round(LOOK_AGAIN_MS * (0.75 + jitter / 2)),
    });
  }
  if (isNews) note(draft, "error", "scheduler", "config_error", message);
}

/** Something that the manifest refers to has appeared or changed. */
export function onResolvable(draft: Draft): void {
  const recheck_at = draft.facts.now + ASK_AGAIN_MS;
  for (const instance of draft.instances)
    if (instance.phase === "placing" && instance.unresolved)
      replace(draft, { ...instance, message: "", unresolved: false, recheck_at });
}
