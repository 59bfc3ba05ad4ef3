import type { Connection } from "../connection.ts";
import { type Lsn, parseLsn } from "../lsn.ts";
import { dataRow, errorFields, rowDescription, ServerError } from "../message.ts";
import { literal } from "./commands.ts";

/** What comes of a base backup, in this order: `begin`, then `archive`, `data`, `data` …, `manifest`, `data` …, then `end`. */
export type BackupPart =
  | { kind: "begin"; start: Lsn; timeline: number }
  /** The following data is a tar file of the data folder, or of the tablespace with this number. */
  | { kind: "archive"; name: string; tablespace: string | null }
  /** The following data is the backup's manifest: a JSON file with the checksum of each file. */
  | { kind: "manifest" }
  | { kind: "data"; data: Buffer }
  | { kind: "end"; end: Lsn; timeline: number };

/** Takes a base backup (PostgreSQL 15 or newer). The WAL from `begin` to `end` is needed to make it consistent, and is not in it. */
export async function* baseBackup(
  connection: Connection,
  { label, maxRateKib }: { label: string; maxRateKib?: number | undefined },
): AsyncGenerator<BackupPart> {
  const options = ["CHECKPOINT 'fast'", "WAIT false", "MANIFEST 'yes'", "MANIFEST_CHECKSUMS 'SHA256'"];
  if (maxRateKib !== undefined) options.push(`MAX_RATE ${maxRateKib}`);
  connection.send(`BASE_BACKUP (LABEL ${literal(label)}, ${options.join(", ")})`);
  let names: string[] = [];
  let results = 0;
  for (;;) {
    for (const { type, body } of await connection.receive()) {
      if (type === "E") throw new ServerError(errorFields(body));
      if (type === "T") {
        names = rowDescription(body);
        if (names.includes("recptr")) results++;
      } else if (type === "D" && names.includes("recptr")) {
        const row = Object.fromEntries(dataRow(body).map((value, i) => [names[i], value]));
        const at = parseLsn(row.recptr ?? "");
        const timeline = Number(row.tli);
        yield results === 1 ? { kind: "begin", start: at, timeline } : { kind: "end", end: at, timeline };
      } else if (type === "d") yield* partOf(body);
      else if (type === "Z") return;
    }
  }
}

function* partOf(body: Buffer): Generator<BackupPart> {
  const kind = String.fromCharCode(body[0] ?? 0);
  if (kind === "n") {
    const [name = "", tablespace = ""] = body.toString("utf8", 1).split("\0");
    yield { kind: "archive", name, tablespace: tablespace === "" ? null : tablespace };
  } else if (kind === "m") yield { kind: "manifest" };
  else if (kind === "d") yield { kind: "data", data: body.subarray(1) };
}
