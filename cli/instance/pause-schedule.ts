import { Failure } from "../failure.ts";

const DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

type Flags = { pauseAt?: string; resumeAt?: string; days?: string; timeZone?: string };

/** The pause schedule that flags say; undefined when they say none. */
export function pauseSchedule({ pauseAt, resumeAt, days, timeZone }: Flags): Record<string, unknown> | undefined {
  if (pauseAt === undefined && resumeAt === undefined) {
    if (days === undefined && timeZone === undefined) return undefined;
    throw new Failure("--days and --time-zone go with --pause-at and --resume-at");
  }
  if (pauseAt === undefined || resumeAt === undefined)
    throw new Failure("--pause-at and --resume-at go together: each is the end of the other");
  return {
    pause_at: pauseAt,
    resume_at: resumeAt,
    ...(days === undefined ? {} : { days: daysOf(days) }),
    ...(timeZone === undefined ? {} : { time_zone: timeZone }),
  };
}

/** `mon-fri`, `sat,sun`, `fri-mon`; 0 is Sunday. */
function daysOf(text: string): number[] {
  const found = text
    .toLowerCase()
    .split(",")
    .flatMap((part) => {
      const [from = -1, to = from] = part.split("-").map((word) => DAYS.indexOf(word.trim()));
      if (from < 0 || to < 0)
        throw new Failure(`--days '${text}': expected days such as mon-fri or sat,sun (${DAYS.join(", ")})`);
      return Array.from({ length: ((to - from + 7) % 7) + 1 }, (_, i) => (from + i) % 7);
    });
  return [...new Set(found)].sort();
}
