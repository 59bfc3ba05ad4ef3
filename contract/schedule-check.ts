import { type Manifest, NAME_MESSAGE } from "./manifest.ts";
import { checkManifest, propertyPath, shapeViolations } from "./manifest-check.ts";
import type { Violation } from "./problem.ts";
import { parseDuration } from "./quantity.ts";
import { SCHEDULE_NAME_LENGTH, ScheduleBody, type ScheduleSpec } from "./schedule.ts";

/** A schedule that was checked: whose it is, what it says, and whether it is to be suspended (null: as it is). */
export type CheckedSchedule = { namespace: string; name: string; spec: ScheduleSpec; suspend: boolean | null };
export type ScheduleFault = { path: "cron" | "time_zone"; message: string };

const LONGEST_DEADLINE_MS = 366 * 86_400_000;

/**
 * Checks everything about a schedule. Answers it, or every violation at once.
 * @param fault says what is wrong with a cron expression in a time zone; a caller that cannot tell leaves that to the server
 */
export function checkSchedule(
  body: unknown,
  fault: (cron: string, timeZone: string) => ScheduleFault | null = () => null,
): { ok: true; schedule: CheckedSchedule } | { ok: false; violations: Violation[] } {
  const parsed = ScheduleBody.safeParse(body);
  // The job's own fields are told by the check of a manifest, which knows more about them.
  const violations = parsed.success
    ? []
    : shapeViolations(parsed.error, body, ScheduleBody).filter(({ property_path }) => !/^job[.[]/.test(property_path));
  const told = new Set(violations.map(({ property_path }) => property_path));
  const written = (typeof body === "object" && body !== null ? body : {}) as Record<string, unknown>;
  const say = (property_path: string, message: string, code: string) => {
    if (!told.has(property_path)) violations.push({ property_path, message, code });
  };
  const text = (field: string, usual = ""): string =>
    typeof written[field] === "string" ? (written[field] as string) : usual;

  if (text("name").length > SCHEDULE_NAME_LENGTH)
    say(
      "name",
      `expected at most ${SCHEDULE_NAME_LENGTH} characters: the time of each run is put behind it`,
      "schedule.name.length",
    );
  const found = told.has("cron") ? null : fault(text("cron"), text("time_zone", "UTC"));
  if (found) say(found.path, found.message, `schedule.${found.path}.invalid`);
  const deadline = text("starting_deadline");
  const ms = parseDuration(deadline);
  if (deadline !== "" && (ms === null || ms < 1000 || ms > LONGEST_DEADLINE_MS))
    say(
      "starting_deadline",
      `expected a duration from 1s to 366d such as "10m", got "${deadline}"`,
      "schedule.starting_deadline.invalid",
    );
  const job = checkJob(written.job, text("name"), text("namespace", "default"));
  if (!job.ok) for (const one of job.violations) say(one.property_path, one.message, one.code);
  if (violations.length > 0 || !parsed.success || !job.ok) return { ok: false, violations };
  const { cron, time_zone, concurrency_policy, starting_deadline, history, suspend, name, namespace } = parsed.data;
  return {
    ok: true,
    schedule: {
      namespace,
      name,
      suspend: suspend ?? null,
      spec: {
        cron,
        time_zone,
        concurrency_policy,
        starting_deadline: starting_deadline ?? null,
        history,
        job: job.manifest,
      },
    },
  };
}

/** The job as the manifest that each run is made of. What is wrong with the schedule's own name is not told again here. */
function checkJob(
  job: unknown,
  name: string,
  namespace: string,
): { ok: true; manifest: Manifest } | { ok: false; violations: Violation[] } {
  if (typeof job !== "object" || job === null || Array.isArray(job)) return { ok: false, violations: [] };
  const own: Violation[] = ["name", "namespace"]
    .filter((field) => field in job)
    .map((field) => ({
      property_path: propertyPath(["job", field]),
      message: `unknown field; a run's ${field} comes from the schedule`,
      code: "unknown_field",
    }));
  const kind = (job as { kind?: unknown }).kind ?? "job";
  if (kind !== "job")
    own.push({ property_path: "job.kind", message: "a schedule runs jobs; leave it out", code: "schedule.job.kind" });
  const checked = checkManifest({ ...job, kind: "job", name, namespace });
  if (checked.ok) return own.length === 0 ? checked : { ok: false, violations: own };
  const theirs = checked.violations
    .filter(({ message, property_path }) => message !== NAME_MESSAGE && property_path !== "name")
    .map((one) => ({ ...one, property_path: propertyPath(["job", one.property_path]) }));
  return { ok: false, violations: [...own, ...theirs] };
}
