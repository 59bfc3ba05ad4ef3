// PostgreSQL 16 and 17, from the packages of test/postgres-versions.
import { join } from "node:path";
import type { Installation } from "../../agent/postgres/binaries.ts";
import { chosenInstallation } from "../../agent/postgres/chosen-installation.ts";
import { embeddedInstallation } from "../../agent/postgres/embedded.ts";
import { requires } from "../requires.ts";
import { workshopFolder } from "./postgres-host.ts";

export const MAJORS = [16, 17] as const;

/** As a host has it whose owner names its folder. Null where the packages were not installed. */
export async function versionOf(major: number): Promise<Installation | null> {
  const part = await requires("postgresVersions");
  if (!part.available) return null;
  const source = join(part.path, `postgres-${major}-${process.platform}-${process.arch}`);
  const unpacked = await embeddedInstallation(workshopFolder(), source);
  const found = await chosenInstallation({ folders: [unpacked?.folder ?? source] }, workshopFolder());
  if (typeof found === "string") throw new Error(found);
  return found;
}
