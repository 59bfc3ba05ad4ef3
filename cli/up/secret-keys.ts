import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** The keys under which the control plane keeps secrets (`id:base64,…`): those of the last time, else a new one. Without this file they are lost. */
export function secretKeys(dataDir: string): string {
  const path = join(dataDir, "secret-keys");
  const kept = existsSync(path) ? readFileSync(path, "utf8").trim() : "";
  if (kept !== "") return kept;
  const keys = `k1:${randomBytes(32).toString("base64")}`;
  writeFileSync(`${path}.new`, `${keys}\n`, { mode: 0o600 });
  renameSync(`${path}.new`, path);
  return keys;
}
