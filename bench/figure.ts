import type { Distribution } from "./distribution.ts";

export type Goal = { text: string; met: boolean };

/** One line of the summary. `bare` is the same work done without Lamplighter, in the same run, in turn with ours. */
export type Line = {
  what: string;
  unit: string;
  ours: Distribution;
  bare?: Distribution & { what: string };
  ratio?: number;
  goal?: Goal;
};

export type Setting = {
  /** Few repetitions: shows that the figure can be measured, not what it is. */
  quick: boolean;
  say: (line: string) => void;
  /** Done after the figure, the last one first; also when it failed or was interrupted. */
  after: (stop: () => Promise<void>) => void;
  /** Done at the end of the program: what several figures use. */
  atEnd: (stop: () => Promise<void>) => void;
};

/** A figure that cannot be measured on this machine answers why. */
export type Outcome = readonly Line[] | { leftOut: string };

export type Figure = { name: string; about: string; measure: (setting: Setting) => Promise<Outcome> };

/** Ours over the bare thing, both at the median. */
export function compared(
  what: string,
  unit: string,
  ours: Distribution,
  bare: Distribution & { what: string },
  most?: number,
): Line {
  const ratio = ours.p50 / bare.p50;
  const goal = most === undefined ? {} : { goal: { text: `ratio ≤ ${most}`, met: ratio <= most } };
  return { what, unit, ours, bare, ratio, ...goal };
}

export const atMost = (limit: number, unit: string, value: number): Goal => ({
  text: `≤ ${limit} ${unit}`,
  met: value <= limit,
});

export const atLeast = (limit: number, unit: string, value: number): Goal => ({
  text: `≥ ${limit} ${unit}`,
  met: value >= limit,
});
