import type { LogLine } from "../contract/workload.ts";

const KEYWORDS: readonly [LogLine["level"], RegExp][] = [
  ["error", /\b(error|err|fatal|panic|critical|exception|traceback)\b/i],
  ["warning", /\b(warn|warning)\b/i],
  ["info", /\b(info|notice)\b/i],
  ["debug", /\b(debug|trace)\b/i],
];

/** The level that a log line seems to have: by the first keyword in its first 256 characters. */
export function levelOf(message: string): LogLine["level"] {
  const start = message.slice(0, 256);
  let level: LogLine["level"] = "unknown";
  let earliest = Number.POSITIVE_INFINITY;
  for (const [name, pattern] of KEYWORDS) {
    const at = start.search(pattern);
    if (at >= 0 && at < earliest) {
      earliest = at;
      level = name;
    }
  }
  return level;
}
