// What is told of a source before anything is built, and what is wrong with it.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BuilderRequest } from "../../contract/engine-build.ts";
import { runBuilder, type Verb } from "../../engine/main.ts";
import { freePort } from "../gateway/cluster.ts";
import type { Dialect } from "./shop.ts";
import { parts, type TestSource, testSource } from "./sources.ts";

describe.each(["mysql", "postgres"] satisfies Dialect[])("%s", (dialect) => {
  describe.skipIf(!parts[dialect].available)("the builder", () => {
    let out: string;
    let source: TestSource;

    beforeAll(async () => {
      out = mkdtempSync(join(tmpdir(), "lamplighter-builder-"));
      source = await testSource(dialect);
      await source.run(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, other INTEGER)",
        "CREATE TABLE loose (a INTEGER)",
        "INSERT INTO t VALUES (1, 2)",
      );
      if (dialect === "mysql")
        await source.run(
          "CREATE USER reader@'127.0.0.1' IDENTIFIED BY 'secret'",
          "GRANT SELECT ON shop.* TO reader@'127.0.0.1'",
        );
      else
        await source.run(
          "CREATE ROLE reader LOGIN PASSWORD 'secret'",
          "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader",
        );
    });
    afterAll(async () => {
      await source?.close();
      rmSync(out, { recursive: true, force: true });
    });

    const ask = (verb: Verb, changed: object = {}, config: string | null = null) =>
      runBuilder(verb, BuilderRequest.parse({ source: { ...source.connection, ...changed }, config, out }), () => {});

    test("tells what a source is, and that it can be followed", async () => {
      expect(await ask("test")).toMatchObject({
        ok: true,
        test: {
          latency_ms: expect.any(Number),
          bytes: expect.any(Number),
          schemas: [source.connection.schema],
          replication: { mode: dialect === "mysql" ? "binlog" : "logical", finding: null },
        },
        findings: [{ code: "no_primary_key", table: "loose" }, { code: "whole_table_reload" }],
      });
    });

    test("tells what a user lacks, with the statement that gives it", async () => {
      const answer = await ask("test", { user: "reader" });
      const message =
        dialect === "mysql"
          ? "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'reader'@'127.0.0.1'"
          : 'ALTER ROLE "reader" REPLICATION';
      expect(answer).toMatchObject({
        ok: true,
        test: { replication: { mode: "poll", finding: { code: "repl_grant_missing", message } } },
      });
    });

    test.each([
      ["a wrong password", { password: "wrong" }, "auth_failed"],
      ["a port where nobody is", null, "connect_refused"],
      ["a host that does not exist", { host: "no.such.host.invalid" }, "dns_failed"],
      [
        "a schema that does not exist",
        { schema: "nowhere" },
        dialect === "mysql" ? "schema_missing" : "introspection_failed",
      ],
      ["TLS that is not there", { tls: { mode: "require" } }, "tls_failed"],
    ])("%s", async (_what, changed, code) => {
      const answer = await ask("build", changed ?? { port: await freePort() });
      expect(answer).toMatchObject({ ok: false, code });
      expect(JSON.stringify(answer)).not.toContain("secret");
    });

    test("a configuration that does not fit, before and instead of a build", async () => {
      const config = "version: 1\ntables:\n  - name: t\n    columns: [id, othr]\n";
      for (const verb of ["check", "build"] as const)
        expect(await ask(verb, {}, config)).toMatchObject({
          ok: false,
          code: "config_invalid",
          problems: [{ line: 4, column: 19, nearest: ["other"] }],
        });
      expect(await ask("check", {}, config.replace("othr", "other"))).toMatchObject({ ok: true });
    });

    test("builds of one schema are one artifact, and of another another", async () => {
      const id = async () => {
        const answer = await ask("build");
        return answer.ok ? answer.build?.id : JSON.stringify(answer);
      };
      const first = await id();
      expect(first).toMatch(/^[0-9a-f]{64}$/);
      expect(await id()).toBe(first);
      await source.run("ALTER TABLE t ADD COLUMN further INTEGER");
      expect(await id()).not.toBe(first);
    });
  });
});
