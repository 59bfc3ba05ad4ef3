import { Backoff } from "../replication/backoff.ts";
import { sourceFailure } from "./failure.ts";
import { MysqlSource } from "./mysql/mysql-source.ts";
import { type PostgresOptions, PostgresSource } from "./postgres/postgres-source.ts";
import type { Source } from "./source.ts";

type Log = (level: "info" | "warn", text: string) => void;

const MOVED_AFTER_MS = 15_000;

/** A source, ready to be read. Where it may come back it is waited for. */
export async function openSource(options: PostgresOptions, log: Log): Promise<Source> {
  const { source, shape, sync, moves } = options;
  const started = performance.now();
  const backoff = new Backoff(200, 10_000);
  for (;;) {
    try {
      if (source.kind === "mysql") return await MysqlSource.open(source, shape, sync);
      return await PostgresSource.open(options);
    } catch (error) {
      const failure = sourceFailure(error, "connect_timeout");
      // One that moves may be elsewhere by now: whoever starts engines knows where.
      if (!failure.mayPass || (moves && performance.now() - started > MOVED_AFTER_MS)) throw failure;
      log("warn", `${failure.code}: ${failure.message}; tries again`);
      await new Promise((resolve) => setTimeout(resolve, backoff.next()));
    }
  }
}
