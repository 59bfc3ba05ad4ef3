import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export const secretKeysPath = (dataDir: string): string => join(dataDir, "secret-keys");

/**
 * The keys that secrets are sealed with, as the control plane takes them (`id:base64`, separated by commas or lines, the first one seals): those of the
 * last time, else a new one. They are kept in the data folder, where only its owner reads them; without them, what is sealed is lost.
 */
export function secretKeys(dataDir: string): string {
  const path = secretKeysPath(dataDir);
  const kept = existsSync(path) ? readFileSync(path, "utf8") : "";
  const keys = kept
    .split(/[\n,]/)
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
  if (keys.length > 0) return keys.join(",");
  const key = newSecretKey("k1");
  writeFileSync(`${path}.new`, `${key}\n`, { mode: 0o600 });
  renameSync(`${path}.new`, path);
  return key;
}

export const newSecretKey = (id: string): string => `${id}:${randomBytes(32).toString("base64")}`;
