// What is told of a source before anything is built, and what is wrong with it.

import { mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { SyncSettings } from "../../contract/engine.ts";
import { BuilderRequest } from "../../contract/engine-build.ts";
import { runBuilder, type Verb } from "../../engine/main.ts";
import type { Shape } from "../../engine/shape/shape.ts";
import { PostgresSource } from "../../engine/source/postgres/postgres-source.ts";
import { freePort } from "../free-port.ts";
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
          replication: { mode: dialect === "mysql" ? "binlog" : "logical", findings: [] },
        },
        findings: [
          ...[{ code: "no_primary_key", table: "loose" }, { code: "whole_table_reload" }],
          ...(dialect === "mysql" ? [] : [{ code: "log_unlimited", fix: expect.stringMatching(/^ALTER SYSTEM SET/) }]),
        ],
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
        test: {
          replication: { mode: "poll", findings: expect.arrayContaining([{ code: "repl_grant_missing", message }]) },
        },
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

    test("tells all of it at once", async () => {
      if (dialect === "postgres") return;
      await source.run("SET GLOBAL binlog_format = 'MIXED'", "SET GLOBAL binlog_row_image = 'MINIMAL'");
      const answer = await ask("test", { user: "reader" });
      const codes = answer.ok ? answer.test?.replication.findings.map(({ code }) => code) : answer;
      expect(codes).toEqual(["binlog_format", "row_image", "repl_grant_missing"]);
      await source.run("SET GLOBAL binlog_format = 'ROW'", "SET GLOBAL binlog_row_image = 'FULL'");
    });

    test("a source that hangs is given up", async () => {
      const silent = createServer(() => {});
      await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
      const { port } = silent.address() as AddressInfo;
      expect(await ask("test", { port })).toMatchObject({ ok: false, code: "connect_timeout" });
      silent.close();
    }, 30_000);

    test("tells what may not be read, with the statement that mends it, and builds from the rest", async () => {
      await source.run(
        "CREATE TABLE hidden (id INTEGER PRIMARY KEY)",
        ...(dialect === "mysql"
          ? [
              "CREATE USER narrow@'127.0.0.1' IDENTIFIED BY 'secret'",
              "GRANT SELECT ON shop.t TO narrow@'127.0.0.1'",
              "GRANT INSERT ON shop.hidden TO narrow@'127.0.0.1'",
            ]
          : ["CREATE ROLE narrow LOGIN PASSWORD 'secret'", "GRANT SELECT ON t TO narrow"]),
      );
      const found = async () => {
        const answer = await ask("test", { user: "narrow" });
        if (!answer.ok) throw new Error(answer.message);
        return answer.findings;
      };
      const own = async () =>
        (await found()).filter(({ code, table }) => code === "select_denied" && table === "hidden");
      const [finding, ...others] = await own();
      expect([finding?.message, others]).toEqual(["hidden is left out: its rows may not be read", []]);
      expect(await ask("build", { user: "narrow" })).toMatchObject({ ok: true });
      await source.run(finding?.fix ?? "");
      expect(await own()).toEqual([]);
      if (dialect === "mysql") {
        await source.run(
          "REVOKE SELECT, INSERT ON shop.hidden FROM narrow@'127.0.0.1'",
          "ALTER TABLE hidden ADD COLUMN secret_of_ours INTEGER",
          "GRANT SELECT (id) ON shop.hidden TO narrow@'127.0.0.1'",
        );
        expect(await own()).toEqual([]);
      } else {
        await source.run("REVOKE USAGE ON SCHEMA public FROM PUBLIC");
        expect(await found()).toContainEqual(
          expect.objectContaining({ code: "schema_denied", fix: 'GRANT USAGE ON SCHEMA "public" TO "narrow"' }),
        );
        await source.run("GRANT USAGE ON SCHEMA public TO PUBLIC");
      }
      await source.run("DROP TABLE hidden");
    });

    if (dialect === "postgres")
      test("tells who may not publish, and follows what was published for them", async () => {
        const user = { user: "follower" };
        const found = async (config: string | null = null) => {
          const answer = await ask("test", user, config);
          if (!answer.ok) throw new Error(answer.message);
          return answer.test?.replication;
        };
        const mend = async () =>
          source.run(/(?:CREATE|GRANT) .*$/.exec((await found())?.findings[0]?.message ?? "")?.[0] ?? "");
        await source.run(
          "CREATE ROLE follower LOGIN REPLICATION PASSWORD 'secret'",
          "CREATE TABLE own (id INTEGER PRIMARY KEY)",
          "ALTER TABLE own OWNER TO follower",
          "GRANT SELECT ON ALL TABLES IN SCHEMA public TO follower",
        );
        const ofOthers = {
          code: "publication_missing",
          message: expect.stringContaining('FOR TABLE "public"."own", "public"."t"'),
        };
        expect(await found()).toEqual({ mode: "poll", findings: [ofOthers] });
        // A publication that leaves something out is none.
        for (const partly of ["t, own WHERE (id > 1)", "t (id), own", "own", "t, own WITH (publish = 'insert')"]) {
          await source.run(`CREATE PUBLICATION partly FOR TABLE ${partly}`);
          expect(await found(), partly).toMatchObject({ mode: "poll" });
          await source.run("DROP PUBLICATION partly");
        }
        const ownOnly = "version: 1\ntables:\n  - name: own\n";
        expect(await found(ownOnly)).toMatchObject({
          findings: [
            { message: 'follower may not make publications: GRANT CREATE ON DATABASE "postgres" TO "follower"' },
          ],
        });
        await source.run("GRANT CREATE ON DATABASE postgres TO follower");
        expect(await found(ownOnly)).toEqual({ mode: "logical", findings: [] });
        await source.run("REVOKE CREATE ON DATABASE postgres FROM follower");
        await mend();
        expect(await found()).toEqual({ mode: "logical", findings: [] });
        const opened = await PostgresSource.open({
          ...{
            source: BuilderRequest.parse({ source: { ...source.connection, ...user } }).source,
            instance: "inst_p",
            generation: 1,
          },
          ...{ keepsSlot: false, moves: false, sync: SyncSettings.parse({ mode: "logical" }) },
          ...{
            shape: {
              schema: "public",
              tables: ["t", "own"].map((name) => ({ source: name, wholeTable: null })),
            } as Shape,
          },
          createStore: () => {
            throw new Error("nothing is read");
          },
        });
        expect([opened.mode, opened.reason]).toEqual(["logical", null]);
        await opened.close();
        await source.run("DROP PUBLICATION lamplighter_public", "DROP TABLE own");
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
