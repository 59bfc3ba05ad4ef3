import { Refused } from "../failure.ts";
import type { Stage } from "./stage.ts";
import type { Story } from "./story.ts";

/** What every part of the story has at hand. */
export type Scene = {
  story: Story;
  stage: Stage;
  signal: AbortSignal;
  /** Text that is shown as it is, set off from what is told. */
  show: (text: string) => void;
  /** Asks again and again until there is an answer; says after so long what was still missing. */
  within: <T>(ms: number, missing: () => string, ask: () => Promise<T | null>) => Promise<T>;
};

export async function isGone(stage: Stage, path: string): Promise<boolean> {
  try {
    await stage.api.get(path);
    return false;
  } catch (error) {
    if (error instanceof Refused && error.problem.status === 404) return true;
    throw error;
  }
}
