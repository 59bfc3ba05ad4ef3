import { Backoff } from "../replication/backoff.ts";
import { sourceFailure } from "./failure.ts";
import { MysqlSource } from "./mysql/mysql-source.ts";
import { type PostgresOptions, PostgresSource } from "./postgres/postgres-source.ts";
import type { Source } from "./source.ts";

type Log = (level: "info" | "warn", text: string) => void;

/** A source, ready to be read. Where it may come back it is waited for. */
export async function openSource(options: PostgresOptions, log: Log): Promise<Source> {
  const { source, shape, sync } = options;
  const backoff = new Backoff(200, 10_000);
  for (;;) {
    try {
      if (source.kind === "mysql") return await MysqlSource.open(source, shape, sync);
      return await PostgresSource.open(options);
    } catch (error) {
      const failure = sourceFailure(error, "connect_timeout");
      if (!failure.mayPass) throw failure;
      log("warn", `${failure.code}: ${failure.message}; tries again`);
      await new Promise((resolve) => setTimeout(resolve, backoff.next()));
    }
  }
}
