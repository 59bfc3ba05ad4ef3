import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { exitOf, json, linesOf, never, startDriver, up } from "./process-driver.ts";
import { eventually, folder, isRunning, sh, workload } from "./workload.ts";

const isRoot = process.getuid?.() === 0;
const _hasCgroups = isRoot && existsSync("/sys/fs/cgroup/memory/memory.limit_in_bytes");

describe("a program's end", () => {
  test.each([
    ["exit 0", { code: 0, signal: null }],
    ["exit 7", { code: 7, signal: null }],
    ["exit 137", { code: 137, signal: null }],
    ["kill -TERM $$", { code: null, signal: "SIGTERM" }],
    ["kill -9 $$", { code: null, signal: "SIGKILL" }],
  ])("%s", async (script, end) => {
    const started = await startDriver(folder());
    const { made } = await up(started, { command: sh(script) });
    expect(await exitOf(started, made.id)).toMatchObject({ ...end, oom: false, evidence: "kept" });
  });

  test("is kept while the agent is away, and the generation is not run again", async () => {
    const dataDir = folder();
    const before = await startDriver(dataDir);
    const marker = join(folder(), "runs");
    writeFileSync(marker, "");
    chmodSync(marker, 0o666);
    chmodSync(join(marker, ".."), 0o755);
    const { made } = await up(before, { command: sh(`echo run >> ${marker}; sleep 0.2; exit 9`) });
    await before.driver.close();
    const child = json(join(dataDir, "process", made.id, "g1", "child.json"));
    await eventually(() => !isRunning(child.pid), "it has ended");

    const after = await startDriver(dataDir);
    expect(after.found).toMatchObject([{ id: made.id, generation: 1, owner: made.owner }]);
    expect(await exitOf(after, made.id)).toMatchObject({ code: 9, evidence: "kept" });
    expect(await after.driver.apply(made, never)).toMatchObject({ phase: "exited", exit: { code: 9 } });
    expect(readFileSync(marker, "utf8")).toBe("run\n");
  });

  test("takes all that it started with it", async () => {
    const started = await startDriver(folder());
    const { made } = await up(started, { command: sh("sleep 1000 & echo $!; setsid sleep 1000 & echo $!; sleep 0.1") });
    await exitOf(started, made.id);
    const pids = (await linesOf(started.driver, made.id)).map((line) => Number(line.message));
    expect(pids).toHaveLength(2);
    await started.driver.remove(made.id, 1, 0);
    expect(pids.filter(isRunning)).toEqual([]);
  });

  test("is lost with its shim, and the program goes too", async () => {
    const dataDir = folder();
    const started = await startDriver(dataDir);
    const { made, seen } = await up(started, {
      command: sh("trap '' TERM HUP; sleep 1000 & setsid sleep 1000 & wait; wait; wait"),
    });
    expect(seen.phase).toBe("running");
    const dir = join(dataDir, "process", made.id, "g1");
    const { pid } = json(join(dir, "child.json"));
    process.kill(json(join(dir, "shim.json")).pid, "SIGKILL");
    expect(await exitOf(started, made.id)).toMatchObject({ code: null, signal: null, evidence: "lost" });
    expect(isRunning(pid)).toBe(false);
  });

  test("of a shim that was killed while the agent was away is lost too", async () => {
    const dataDir = folder();
    const before = await startDriver(dataDir);
    const { made } = await up(before, {});
    await before.driver.close();
    const dir = join(dataDir, "process", made.id, "g1");
    const { pid } = json(join(dir, "child.json"));
    const shim = json(join(dir, "shim.json")).pid;
    process.kill(shim, "SIGKILL");
    await eventually(() => !isRunning(shim), "the shim has ended");
    const after = await startDriver(dataDir);
    expect(after.found[0]?.observation).toMatchObject({ phase: "exited", exit: { evidence: "lost" } });
    expect(isRunning(pid)).toBe(false);
  });

  test("is not believed of a later process that got the same number", async () => {
    const dataDir = folder();
    const before = await startDriver(dataDir);
    const { made } = await up(before, {});
    await before.driver.close();
    const dir = join(dataDir, "process", made.id, "g1");
    const child = json(join(dir, "child.json"));
    process.kill(-child.pid, "SIGKILL");
    await eventually(() => existsSync(join(dir, "exit.json")), "the end is written");
    // As if the shim had left nothing, and its number were another's now: this very test's.
    execFileSync("rm", [join(dir, "exit.json")]);
    writeFileSync(join(dir, "shim.json"), JSON.stringify({ pid: process.pid, start: "another" }));
    const after = await startDriver(dataDir);
    expect(after.found[0]?.observation).toMatchObject({ phase: "exited", exit: { evidence: "lost" } });
  });
});

describe("creation", () => {
  test("is repeated without a second process", async () => {
    const dataDir = folder();
    const first = await startDriver(dataDir);
    const { made, seen } = await up(first, { command: sh("echo up; sleep 1000") });
    const second = await startDriver(dataDir);
    expect(await second.driver.apply(made, never)).toMatchObject({
      phase: "running",
      address: (seen as { address: string }).address,
    });
    await eventually(async () => (await linesOf(second.driver, made.id)).length > 0, "it has said so");
    expect(await linesOf(second.driver, made.id)).toHaveLength(1);
  });

  test("by several shims in one folder starts the program once", async () => {
    const dataDir = folder();
    const started = await startDriver(dataDir);
    const { made } = await up(started, { command: sh("echo up; sleep 1000") });
    const root = join(dataDir, "process");
    const script = join(root, readdirSync(root).find((name) => name.startsWith("shim-")) as string);
    const dir = join(root, made.id, "g1");
    for (let i = 0; i < 3; i++) execFileSync(process.execPath, [script], { input: `${dir}\n`, timeout: 10_000 });
    expect(await linesOf(started.driver, made.id)).toHaveLength(1);
  });

  test.each([
    [{ image: "nginx" }, "image"],
    [{ registry: { server: null, username: "u", password: "p" } }, "registry"],
    [
      {
        mounts: [
          {
            type: "volume" as const,
            source: "v",
            destination: "/v",
            driver: "local" as const,
            permission: "rw" as const,
          },
        ],
      },
      "mounts",
    ],
    [{ user: { id: null, group: null, privileged: true } }, "user.privileged"],
    [{ ports: [{ published: 80, target: 80, host_ip: "127.0.0.1", protocol: "tcp" as const }] }, "ports[0].host_ip"],
    [{ command: [] }, "command"],
    [{ working_dir: "/no/such/folder" }, "working_dir"],
    [{ environment: { PORT: "http" } }, "environment.PORT"],
  ])("refuses %j, and names the field", async (spec, field) => {
    const { driver } = await startDriver(folder());
    const made = workload({ spec });
    const seen = await driver.apply(made, never);
    expect(seen).toMatchObject({ phase: "failed" });
    expect(seen.phase === "failed" && seen.failure.message.startsWith(`${field}:`)).toBe(true);
  });

  test("says what it looked for when there is no such command", async () => {
    const dataDir = folder();
    const { driver } = await startDriver(dataDir);
    const no = async (command: string[]) => {
      const made = workload({ spec: { command } });
      const seen = await driver.apply(made, never);
      await driver.remove(made.id, 1, 0);
      await driver.forget(made.id);
      return seen;
    };
    expect(await no(["no-such-program"])).toMatchObject({
      failure: {
        kind: "create_container_error",
        reason: "command_not_found",
        message: expect.stringContaining('"no-such-program" in PATH ('),
      },
    });
    expect(await no(["/no/such/program"])).toMatchObject({
      failure: { reason: "command_not_found", message: expect.stringContaining("/no/such/program") },
    });
    const text = join(dataDir, "text");
    writeFileSync(text, "not a program", { mode: 0o644 });
    expect(await no([text])).toMatchObject({
      failure: { reason: "permission_denied", message: expect.stringContaining(text) },
    });
    chmodSync(dataDir, 0o755);
    const script = join(dataDir, "script");
    writeFileSync(script, "#!/no/such/interpreter\n", { mode: 0o755 });
    expect(await no([script])).toMatchObject({
      failure: { reason: "command_not_found", message: expect.stringContaining("interpreter") },
    });
  });

  test("gives nothing of the agent's environment but the PATH, and a home, a port and what was asked for", async () => {
    process.env.SECRET_OF_THE_AGENT = "yes";
    const started = await startDriver(folder());
    const { made, seen } = await up(started, { command: ["env"], environment: { COLOUR: "blue green" } });
    await exitOf(started, made.id);
    const lines = (await linesOf(started.driver, made.id)).map((line) => line.message);
    const names = lines.map((line) => line.split("=")[0]).sort();
    expect(names).toEqual(["COLOUR", "HOME", "LAMPLIGHTER_INSTANCE", "LANG", "PATH", "PORT"]);
    expect(lines).toContain("COLOUR=blue green");
    expect(seen.phase === "failed").toBe(false);
  });

  test.runIf(isRoot)("runs as a user who may do nothing, who can open its own output", async () => {
    const started = await startDriver(folder());
    const { made } = await up(started, {
      command: sh("id -u; id -G; echo again > /dev/stdout; touch here && echo mine; touch / 2>&1 || echo closed"),
    });
    await exitOf(started, made.id);
    const [uid, groups, ...rest] = (await linesOf(started.driver, made.id)).map((line) => line.message);
    expect(Number(uid)).toBeGreaterThan(0);
    expect(groups?.split(" ")).not.toContain("0");
    expect(rest).toEqual(expect.arrayContaining(["again", "mine", "closed"]));
  });

  test.runIf(isRoot)("runs as the user and group that are asked for", async () => {
    const started = await startDriver(folder());
    const { made } = await up(started, {
      command: sh("id -u; id -g; id -G"),
      user: { id: 12345, group: 54321, privileged: false },
    });
    await exitOf(started, made.id);
    expect((await linesOf(started.driver, made.id)).map((line) => line.message)).toEqual(["12345", "54321", "54321"]);
  });

  test("keeps the environment from other users", async () => {
    const dataDir = folder();
    const started = await startDriver(dataDir);
    const { made } = await up(started, { environment: { PASSWORD: "hush" } });
    const dir = join(dataDir, "process", made.id, "g1");
    expect(statSync(dir).mode & 0o077).toBe(0);
    for (const name of readdirSync(dir)) expect(statSync(join(dir, name)).mode & 0o077, name).toBe(0);
  });
});

describe("ports", () => {
  test("are given out once, from the range, and again after they were given back", async () => {
    const dataDir = folder();
    const started = await startDriver(dataDir, { portRange: { from: 29_990, to: 29_992 } });
    const all = await Promise.all([1, 2, 3].map(() => up(started, {})));
    const addresses = all.map(({ seen }) => (seen.phase === "running" ? seen.address : null));
    expect(new Set(addresses).size).toBe(3);
    const fourth = workload();
    expect(await started.driver.apply(fourth, never)).toMatchObject({
      phase: "failed",
      failure: { reason: "no_free_port" },
    });

    await started.driver.close();
    const again = await startDriver(dataDir, { portRange: { from: 29_990, to: 29_992 } });
    expect(await again.driver.apply(workload(), never)).toMatchObject({ failure: { reason: "no_free_port" } });
    await again.driver.remove(all[0]?.made.id as string, 1, 0);
    const { seen } = await up(again, {});
    expect(seen).toMatchObject({ phase: "running", address: addresses[0] });
  });

  test("that something listens on are left alone, and named when asked for", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    onTestFinished(() => void server.close());
    const { port } = server.address() as { port: number };
    const started = await startDriver(folder(), { portRange: { from: port, to: port } });
    const asked = workload({ spec: { ports: [{ published: port, target: 80, protocol: "tcp" }] } });
    expect(await started.driver.apply(asked, never)).toMatchObject({
      failure: { kind: "create_container_error", reason: "port_taken", message: expect.stringContaining(String(port)) },
    });
    expect(await started.driver.apply(workload(), never)).toMatchObject({ failure: { reason: "no_free_port" } });
  });
});

describe("removal", () => {
  test("gives the program its time, then none", async () => {
    const dataDir = folder();
    const started = await startDriver(dataDir);
    const { made: polite } = await up(started, {
      command: sh("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done"),
    });
    const { made: deaf } = await up(started, { command: sh("trap '' TERM; echo up; while :; do sleep 0.05; done") });
    for (const { id } of [polite, deaf])
      await eventually(async () => (await linesOf(started.driver, id)).length > 0, "it is up");
    const pids = [polite, deaf].map(({ id }) => json(join(dataDir, "process", id, "g1", "child.json")).pid as number);

    const start = performance.now();
    await Promise.all([started.driver.remove(polite.id, 1, 10_000), started.driver.remove(deaf.id, 1, 300)]);
    expect(performance.now() - start).toBeGreaterThan(290);
    expect(performance.now() - start).toBeLessThan(5_000);
    expect(pids.filter(isRunning)).toEqual([]);
    expect((await linesOf(started.driver, polite.id)).map((line) => line.message)).toContain("bye");
    await started.driver.forget(polite.id);
    await started.driver.forget(deaf.id);
    expect(readdirSync(join(dataDir, "process")).filter((name) => name.startsWith("dep_"))).toEqual([]);
  });

  test("of what is not there, or is half made, succeeds", async () => {
    const dataDir = folder();
    const { driver } = await startDriver(dataDir);
    await driver.remove("dep_none-0", 3, 100);
    await driver.remove("../../etc", 1, 100);
    await driver.forget("../../etc");
    mkdirSync(join(dataDir, "process", "dep_half-0", "g2"), { recursive: true });
    const after = await startDriver(dataDir);
    expect(after.found).toMatchObject([{ id: "dep_half-0", generation: 2, observation: { phase: "preparing" } }]);
    await after.driver.remove("dep_half-0", 2, 100);
    expect(existsSync(join(dataDir, "process", "dep_half-0", "g2"))).toBe(false);
  });

  test("leaves no room for a shim that is on its way", async () => {
    const dataDir = folder();
    const started = await startDriver(dataDir);
    const { made } = await up(started, {});
    const dir = join(dataDir, "process", made.id, "g1");
    const intent = readFileSync(join(dir, "intent.json"));
    await started.driver.remove(made.id, 1, 0);
    const root = join(dataDir, "process");
    const script = join(root, readdirSync(root).find((name) => name.startsWith("shim-")) as string);
    // The folder as another agent's removal has claimed it.
    mkdirSync(dir, { recursive: true });
    writeFileSync(join(dir, "intent.json"), intent);
    writeFileSync(join(dir, "shim.json"), "{}");
    execFileSync(process.execPath, [script], { input: `${dir}\n`, timeout: 10_000 });
    expect(existsSync(join(dir, "child.json"))).toBe(false);
  });
});
