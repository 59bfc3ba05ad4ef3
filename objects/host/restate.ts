import { type ControlBody, FULL_PART } from "../../contract/frame.ts";
import { commandOf, page } from "./workloads.ts";

/** All that the host should run, in parts, as one revision. Read lazily: a part is made when the one before it has been sent. */
export function* restate(sql: SqlStorage, revision: number): Generator<ControlBody> {
  let after = "";
  for (;;) {
    const rows = page(sql, after, FULL_PART);
    const last = rows.length < FULL_PART;
    yield { kind: "desired", revision, workloads: rows.flatMap(commandOf), last };
    if (last) return;
    after = rows.at(-1)?.id ?? after;
  }
}
