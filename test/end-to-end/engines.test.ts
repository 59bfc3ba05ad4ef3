// Instances with their real engine on real sources: control plane, agent, engine and database are processes of their own.
import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import type { ConnectionView } from "../../contract/connection.ts";
import type { InstanceView } from "../../contract/instance.ts";
import type { KeyCreated } from "../../contract/instance-key.ts";
import { isStable } from "../../contract/instance-status.ts";
import { freshEnv, lamplighter } from "../cli/captured.ts";
import { FaultySource } from "../engine/faulty-source.ts";
import type { Dialect } from "../engine/shop.ts";
import { parts } from "../engine/sources.ts";
import { until } from "./client.ts";
import { answering, ask, PASSWORD, start, traces, WITH_POSTS } from "./engine-site.ts";
import type { Live } from "./world.ts";

for (const dialect of ["mysql", "postgres"] satisfies Dialect[]) {
  const withSource = test.skipIf(!parts[dialect].available);

  withSource(`an instance of ${dialect}, from its registration to its end`, async (context) => {
    const { cluster, source, connection, id, send, view, when, act } = await start(context, dialect);

    await send("POST", `/connections/${connection.id}/test`);
    const tested = await until(
      () => "the connection is not tested",
      async () => (await send<ConnectionView>("GET", `/connections/${connection.id}`)).last_test,
    );
    expect(tested).toMatchObject({
      ok: true,
      error: null,
      findings: dialect === "mysql" ? [] : [{ code: "log_unlimited", severity: "warning" }],
      replication: { mode: dialect === "mysql" ? "binlog" : "logical", ready: true },
    });
    expect(tested.schemas).toContain(source.connection.schema);
    // The same of nobody's connection; its password is looked for in all files below.
    const { kind, host, port, user, database, tls, schemas } = connection;
    const address = { kind, host, port, user, password: PASSWORD, database, tls, schemas };
    const { findings, replication } = tested;
    expect(await send("POST", "/connections/test", address)).toMatchObject({ ok: true, findings, replication });
    expect(await send("POST", "/connections/test", { ...address, password: "another" })).toMatchObject({
      ...{ ok: false, error: { code: "auth_failed" } },
    });

    const running = await act("provision");
    expect(running).toMatchObject({ status: "running", latest_build: { status: "succeeded", tables: 2 } });
    const { key, id: keyId } = await send<KeyCreated>("POST", `/instances/${id}/keys`, { name: "web" });
    await until(
      () => "the key is not known to the engine",
      async () => (await ask(running, "users { id }", key)).status === 200,
      3000,
    );
    expect(await ask(running, WITH_POSTS, key)).toEqual({
      status: 200,
      body: [{ name: "ann", posts: [{ title: "first" }] }],
    });

    await source.run("UPDATE posts SET published = 1 WHERE id = 2");
    const fresh = { "min-position": await source.position() };
    const both = [
      { name: "ann", posts: [{ title: "first" }] },
      { name: "bob", posts: [{ title: "draft" }] },
    ];
    expect((await ask(running, WITH_POSTS, key, fresh)).body).toEqual(both);
    const env = freshEnv({
      LAMPLIGHTER_URL: cluster.url,
      LAMPLIGHTER_TOKEN: cluster.token,
      LAMPLIGHTER_INSTANCE_KEY: key,
    });
    const printed = await lamplighter(["instance", "query", id, WITH_POSTS], { env });
    expect([printed.code, JSON.parse(printed.out)]).toEqual([0, both]);

    await send("POST", `/instances/${id}/pause-replication`);
    await when("replication is not paused", ({ vitals }) => vitals?.replication === "paused");
    await source.run("INSERT INTO users VALUES (3, 'cy')");
    expect((await ask(running, "users { name }", key)).body).toHaveLength(2);
    await send("POST", `/instances/${id}/resume-replication`);
    await when("replication is not live", ({ vitals }) => vitals?.replication === "live");
    expect((await ask(running, "users { name }", key, { "min-position": await source.position() })).body).toHaveLength(
      3,
    );
    const before = (await view()).vitals?.swap_count ?? 0;
    await send("POST", `/instances/${id}/reload`);
    const { vitals } = await when("it is not read again", (now) => (now.vitals?.swap_count ?? 0) > before);
    expect(vitals?.row_counts).toEqual({ users: 3, posts: 2 });
    expect(vitals?.last_query_at).toBeGreaterThan(Date.now() - 60_000);

    expect(await act("pause")).toMatchObject({ status: "paused", endpoint_url: running.endpoint_url });
    expect(await ask(running, "users { id }", key)).toMatchObject({ status: 503, body: { code: "paused" } });
    expect([await cluster.liveOf(id), await traces(source)]).toEqual([[], []]);
    await source.run("INSERT INTO users VALUES (4, 'dee')");
    const resumed = await act("resume");
    expect((await ask(resumed, "users(order: id) { name }", key)).body).toEqual(
      ["ann", "bob", "cy", "dee"].map((name) => ({ name })),
    );

    await send("DELETE", `/instances/${id}/keys/${keyId}`);
    await until(
      () => "the key opens still",
      async () => (await ask(resumed, "users { id }", key)).status === 401,
      3000,
    );
    expect(cluster.filesWith(PASSWORD)).toEqual([]);
    expect(cluster.client.answers?.filter((text) => text.includes(PASSWORD))).toEqual([]);

    expect((await act("terminate")).status).toBe("terminated");
    expect([await cluster.liveOf(id), await traces(source)]).toEqual([[], []]);
    await send("DELETE", `/instances/${id}`);
    expect((await cluster.client.send("GET", `/instances/${id}`)).status).toBe(404);
  });
  withSource(`what is killed with an engine of ${dialect} comes back`, async (context) => {
    const { cluster, source, id, send, when, act } = await start(context, dialect);
    const running = await act("provision");
    const { key } = await send<KeyCreated>("POST", `/instances/${id}/keys`, { name: "web" });
    const names = async (of: InstanceView) =>
      until(
        () => "it does not answer",
        async () => {
          const at = { "min-position": await source.position() };
          const { status, body } = await ask(of, "users { name }", key, at).catch(() => ({ status: 0, body: null }));
          return status === 200 && (body as { name: string }[]).map(({ name }) => name);
        },
      );
    expect(await names(running)).toEqual(["ann", "bob"]);

    await cluster.killPlane();
    await source.run("INSERT INTO users VALUES (3, 'cy')");
    expect(await names(running)).toEqual(["ann", "bob", "cy"]);
    await cluster.startPlane();
    await when("it is not heard again", ({ vitals }) => vitals?.row_counts.users === 3);

    await cluster.killAgent("one");
    await source.run("INSERT INTO users VALUES (4, 'dee')");
    expect(await names(running)).toHaveLength(4);
    cluster.startAgent("one");
    await cluster.ready("one");

    for (const which of ["the engine", "the program beside it"] as const) {
      const [live] = (await cluster.liveOf(id)) as [Live];
      process.kill(which === "the engine" ? answering(live) : (live.pids[0] as number), "SIGKILL");
      await until(
        () => `nothing came in the place of ${which}`,
        async () => {
          const [now, ...others] = await cluster.liveOf(id);
          return now !== undefined && others.length === 0 && now.generation > live.generation;
        },
      );
      const back = await when("it does not serve again", ({ health }) => health === "ok");
      expect(await names(back)).toHaveLength(4);
      expect(live.pids.filter((pid) => existsSync(`/proc/${pid}`))).toEqual([]);
    }
    // Killed, and terminated before another was started, it leaves what it had at the source to nobody.
    const [live] = (await cluster.liveOf(id)) as [Live];
    for (const pid of live.pids) process.kill(pid, "SIGKILL");
    await act("terminate");
    expect([await cluster.liveOf(id), await traces(source)]).toEqual([[], []]);
  });

  withSource(`what does not fit an instance of ${dialect} is said`, async (context) => {
    const { cluster, source, id, send, view, when, act } = await start(context, dialect);
    const config = "version: 1\ntables:\n  - name: users\n    columns: [id, nme]\n";
    await send("PATCH", `/instances/${id}`, { config });
    await send("POST", `/instances/${id}/provision`);
    const unfit = await when("it does not fail", ({ status }) => status === "failed");
    expect(unfit.last_error).toMatchObject({ code: "config_invalid", category: "build" });
    expect(unfit.last_error?.message).toMatch(/^4:19 /);
    expect(unfit.latest_build).toBe(null);

    await send("PATCH", `/instances/${id}`, { config: config.replace("nme", "name") });
    expect(await act("provision")).toMatchObject({ status: "running", latest_build: { tables: 1 } });
    const [before] = await cluster.liveOf(id);

    // What the stream says of a definition is not waited for until the next look.
    await source.run("ALTER TABLE users ADD COLUMN age INTEGER", "INSERT INTO users VALUES (3, 'cy', 30)");
    const drifted = await when("no drift is seen", ({ drift }) => drift !== null, 20_000);
    expect(drifted.drift?.changes.join()).toContain("age");
    await send("PATCH", `/instances/${id}`, { config: null });
    expect(await act("rebuild")).toMatchObject({ status: "running", drift: null, latest_build: { tables: 2 } });
    const { key } = await send<KeyCreated>("POST", `/instances/${id}/keys`, { name: "web", tables: ["users"] });
    const asked = async (query: string) => ask(await view(), query, key);
    await until(
      () => "the key is not known to the engine",
      async () => (await asked("users { id }")).status === 200,
    );
    expect((await asked("users(id = 3) { age }")).body).toEqual([{ age: 30 }]);
    expect((await asked("posts { id }")).status).toBeGreaterThanOrEqual(400);
    await until(
      () => "the former engine runs still",
      async () => (await cluster.liveOf(id)).every(({ key }) => key !== before?.key),
    );

    // An engine that the source does not let in says so, and is not sent there again.
    const ofReader = (password: string) =>
      source.run(
        dialect === "mysql"
          ? `SET PASSWORD FOR reader@'127.0.0.1' = PASSWORD('${password}')`
          : `ALTER ROLE reader PASSWORD '${password}'`,
      );
    await act("pause");
    await ofReader("another");
    await send("POST", `/instances/${id}/resume`);
    const outside = await when("the resume does not end", ({ status }) => isStable(status) && status !== "paused");
    expect(outside).toMatchObject({ status: "failed", last_error: { code: "auth_failed", category: "auth" } });
    await ofReader(PASSWORD);
    await act("reconfigure");

    await source.close();
    await send("POST", `/instances/${id}/rebuild`);
    const refused = await when("the test does not end", ({ status }) => isStable(status));
    expect(refused).toMatchObject({ status: "running", last_error: { code: "connect_refused", category: "network" } });
    expect((await asked("users(id = 3) { age }")).body).toEqual([{ age: 30 }]);
  });

  withSource(`an engine of ${dialect} that loads wrongly never takes the place of one that serves`, async (context) => {
    let line: FaultySource | null = null;
    const { cluster, id, send, view, when, act } = await start(context, dialect, async ({ connection }) => {
      line = await FaultySource.start(dialect, connection);
      context.onTestFinished(() => line?.close());
      return line.port;
    });
    const faulty = line as FaultySource | null;
    if (faulty === null) throw new Error("there is no line");
    const running = await act("provision");
    const events = await send<{ reason: string; data?: unknown }[]>("GET", `/instances/${id}/events`);
    const ready = events.find(({ reason }) => reason === "engine_ready");
    expect(ready?.data).toMatchObject({ rows: 4, tables: 2, verified: { tables: 2, samples: 4 } });
    const { key } = await send<KeyCreated>("POST", `/instances/${id}/keys`, { name: "web" });
    const answers = [{ name: "ann", posts: [{ title: "first" }] }];
    const served = async () => (await ask(await view(), WITH_POSTS, key)).body;
    await until(
      () => "the key is not known to the engine",
      async () => JSON.stringify(await served()) === JSON.stringify(answers),
    );
    const [before] = await cluster.liveOf(id);

    faulty.fault = { row: "first", becomes: null };
    await send("POST", `/instances/${id}/rebuild`);
    const failed = await when("the rebuild does not end", ({ status }) => isStable(status));
    expect(faulty.spoiled).toBe(1);
    expect(failed).toMatchObject({
      ...{ status: "running", build_id: running.build_id, health: "ok" },
      last_operation: { action: "rebuild", outcome: "failed" },
      last_error: {
        ...{ code: "verification_failed", category: "deploy" },
        message: "of posts 1 rows were loaded, and the source has 2",
      },
    });
    expect(await served()).toEqual(answers);
    // What it wrote last is kept when nothing of it is left on its host.
    const { failed_engine } = await when("its log is not kept", (now) => now.failed_engine !== null);
    expect(failed_engine).toMatchObject({ build_id: failed.latest_build?.id });
    expect(failed_engine?.log.at(-1)).toContain("of posts 1 rows were loaded, and the source has 2");
    expect(await send("GET", `/instances/${id}/logs?failed=true&tail=1`)).toMatchObject([
      { message: expect.stringContaining("verification_failed") },
    ]);
    expect(failed.latest_build).toMatchObject({ status: "succeeded", deployable: true });
    await until(
      () => "the new engine is still there",
      async () => (await cluster.liveOf(id)).map((live) => live.key).join() === before?.key,
    );

    // The same build loads well when nothing is lost on the way.
    await send("POST", `/instances/${id}/redeploy`, { build_id: failed.latest_build?.id });
    const deployed = await when("the redeploy does not end", ({ status }) => isStable(status));
    expect(deployed).toMatchObject({ status: "running", build_id: failed.latest_build?.id, last_error: null });
    expect(await served()).toEqual(answers);
  });
}

test.skipIf(!parts.postgres.available)(
  "an engine that has too little memory is rescued by another size",
  async (context) => {
    const { cluster, source, id, send, when } = await start(context, "postgres");
    // One letter over and over takes little at the source, and all of its length in an engine: more than nano has, and less than small.
    await source.run(
      "CREATE TABLE pages (id INTEGER PRIMARY KEY, text TEXT NOT NULL)",
      "INSERT INTO pages SELECT i, repeat('x', 1000000) FROM generate_series(1, 450) AS i",
    );
    await send("POST", `/instances/${id}/provision`);
    const starved = await when(
      "it is not out of memory",
      ({ operation }) => /memory/.test(operation?.message ?? ""),
      60_000,
    );
    expect(starved).toMatchObject({
      status: "deploying",
      message: expect.stringContaining("resize it to a larger one"),
    });
    expect(starved.allowedActions.resize).toEqual({ allowed: true, mode: "immediate" });
    // Nobody starts it again in vain meanwhile.
    expect(await cluster.liveOf(id)).toEqual([]);
    await send("POST", `/instances/${id}/resize`, { size: "small" });
    const rescued = await when("it does not come to rest", ({ status }) => isStable(status), 60_000);
    expect(rescued).toMatchObject({
      ...{ status: "running", last_error: null, settings: { size: "small" }, deployed: { size: "small" } },
      last_operation: { action: "provision", outcome: "succeeded" },
    });
    expect(rescued.failed_engine?.log.join()).toMatch(/pages needs more than 384 MiB/);
    const [engine, ...others] = await cluster.liveOf(id);
    expect([engine?.pids.length, others]).toEqual([2, []]);
  },
);
