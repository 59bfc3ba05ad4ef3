import { createHash, randomBytes } from "node:crypto";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { ulid } from "../../contract/id.ts";
import { Failure } from "../failure.ts";
import { tokenPath } from "./data-folder.ts";

/** The token that may do everything: the one given, else the one of the last time, else a new one. It is kept in the data folder. */
export function rootToken(dataDir: string, given: string | undefined): string {
  const path = tokenPath(dataDir);
  if (given !== undefined && !/^[\x21-\x7e]{1,512}$/.test(given))
    throw new Failure("--token: expected 1 to 512 visible ASCII characters");
  const kept = existsSync(path) ? readFileSync(path, "utf8").trim() : "";
  const token = given ?? (kept === "" ? newRootToken() : kept);
  if (token !== kept) {
    writeFileSync(`${path}.new`, `${token}\n`, { mode: 0o600 });
    renameSync(`${path}.new`, path);
  }
  return token;
}

export const newRootToken = (): string => `lamp_${ulid(Date.now())}_${randomBytes(32).toString("base64url")}`;

export const tokenHash = (token: string): string => createHash("sha256").update(token).digest("hex");
