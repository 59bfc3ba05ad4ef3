import type { SourceConnection } from "../../contract/engine.ts";
import { Backoff, sleep } from "../replication/backoff.ts";
import { SourceFailure, sourceFailure } from "../source/failure.ts";
import { releasePostgres } from "../source/postgres/traces.ts";
import type { TaskOf } from "./environment.ts";
import type { Reports } from "./reports.ts";

/** Takes away what engines have left at their source, and tries again while that may help: its host ends it when its time is over. */
export async function release(
  source: SourceConnection,
  { instance_id }: Pick<TaskOf<"release">, "instance_id">,
  reports: Reports,
): Promise<void> {
  const backoff = new Backoff(500, 10_000);
  for (;;) {
    const left = await releasePostgres(source, instance_id).catch((error) =>
      sourceFailure(error, "stream_disconnected"),
    );
    if (!(left instanceof SourceFailure)) {
      await reports.send({ kind: "released", left });
      return;
    }
    const message = left.message.slice(0, 4000);
    if (!left.mayPass) {
      await reports.send({ kind: "failed", code: left.code, message });
      return;
    }
    await reports.send({ kind: "progress", message });
    await sleep(backoff.next(), NEVER);
  }
}

const NEVER = new AbortController().signal;
