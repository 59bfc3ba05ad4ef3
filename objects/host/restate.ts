import type { ControlBody } from "../../contract/frame.ts";
import { commandOf, isLast, page } from "./workloads.ts";

/** All that the host should run, in parts, as one revision. Read lazily: a part is made when the one before it has been sent. */
export function* restate(sql: SqlStorage, revision: number): Generator<ControlBody> {
  let after = "";
  for (;;) {
    const rows = page(sql, after);
    const last = isLast(sql, rows.at(-1)?.id ?? after);
    yield { kind: "desired", revision, workloads: rows.flatMap(commandOf), last };
    if (last) return;
    after = rows.at(-1)?.id ?? after;
  }
}
