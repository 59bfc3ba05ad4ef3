import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Ports } from "../process/port.ts";

/** From which a host chooses the port of its endpoints when its owner names none. */
const RANGE = { from: 30_000, to: 30_999 };

/** The port of this host's endpoints: it stays, since callers have it. */
export async function instancePort(folder: string, asked: number | undefined): Promise<number> {
  const file = join(folder, "port");
  const kept = asked ?? portIn(file) ?? (await new Ports(RANGE).take("proxy"));
  if (kept === null) throw new Error(`every port from ${RANGE.from} to ${RANGE.to} is taken: choose --instance-port`);
  writeFileSync(file, `${kept}\n`, { mode: 0o600 });
  return kept;
}

function portIn(file: string): number | null {
  try {
    const port = Number(readFileSync(file, "utf8"));
    return Number.isInteger(port) && port > 0 && port < 65_536 ? port : null;
  } catch {
    return null;
  }
}
