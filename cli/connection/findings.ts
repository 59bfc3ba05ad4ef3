import type { TestResult } from "../../contract/connection.ts";
import { formatBytes } from "../../contract/quantity.ts";

/** What was found, each with what mends it. */
export function findings({
  ok,
  server_version,
  latency_ms,
  estimated_bytes,
  replication,
  findings,
}: TestResult): string {
  const lines = ok
    ? [
        `ok: ${server_version ?? "the source"} answers in ${latency_ms ?? "?"} ms${estimated_bytes === null ? "" : `, about ${formatBytes(estimated_bytes)}`}`,
        `replication: ${replication.mode}${replication.ready ? "" : ", not ready: polling is used until it is"}`,
      ]
    : [];
  for (const { severity, message, fix } of findings)
    lines.push(`${severity}: ${message}`, ...(fix === null ? [] : [`  ${fix}`]));
  return lines.map((line) => `${line}\n`).join("");
}
