import { isMap, type Node } from "yaml";
import type { Violation } from "../../contract/problem.ts";
import { type CheckedSchedule, checkSchedule } from "../../contract/schedule-check.ts";
import { asSent, type Draft } from "./draft.ts";

/** One schedule of a manifest file: what is sent, and where it stands. */
export type DeclaredSchedule = {
  body: Record<string, unknown>;
  schedule: CheckedSchedule;
  tell: (violation: Violation) => string;
};

/** The schedules of a document's section, checked but for what only the server knows about cron expressions. */
export function schedulesOf(
  entries: readonly { path: string; node: Node | undefined }[],
  { source, document }: Draft,
  problems: string[],
): DeclaredSchedule[] {
  return entries.flatMap(({ path, node }) => {
    const tell = ({ property_path, message, code }: Violation) => {
      const place = source.locate(document, node ?? null, property_path, code === "unknown_field" ? "key" : "value");
      return `${source.at(place)} ${[path, property_path].filter((text) => text !== "").join(".")}: ${message}`;
    };
    if (!isMap(node)) {
      problems.push(tell({ property_path: "", message: "expected a schedule: a map with a `name`", code: "" }));
      return [];
    }
    const body = asSent(node.toJS(document) as Record<string, unknown>);
    if (typeof body.job === "object" && body.job !== null) body.job = asSent(body.job as Record<string, unknown>);
    const checked = checkSchedule(body);
    if (checked.ok) return [{ body, schedule: checked.schedule, tell }];
    problems.push(...checked.violations.map(tell));
    return [];
  });
}
