import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { chooseTarget } from "../../cli/contexts.ts";
import { leftovers, stopLeftovers } from "../../cli/up/leftovers.ts";
import { processes } from "../../cli/up/process-table.ts";
import { TOKEN_PATTERN } from "../../contract/token.ts";
import { freePort } from "../free-port.ts";
import { freshEnv, lamplighter } from "./captured.ts";

// `lamplighter up` as its users run it: a process of its own, real workerd, a real agent, real processes, killed for real.
const project = join(import.meta.dirname, "../..");
const dataDir = mkdtempSync(join(tmpdir(), "lamplighter-up-"));
const env = freshEnv();
const started: Up[] = [];

type Up = { child: ChildProcess; output: () => string; ended: Promise<number | null> };

function up(...flags: string[]): Up {
  const child = spawn(
    process.execPath,
    [join(project, "cli/main.ts"), "up", "--data", dataDir, "--runtime", "process", ...flags],
    {
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream?.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const one = {
    child,
    output: () => output,
    ended: new Promise<number | null>((done) => child.on("exit", (code) => done(code))),
  };
  started.push(one);
  return one;
}

async function until<T>(what: string, ask: () => Promise<T | false> | T | false, ms = 15_000): Promise<T> {
  for (const deadline = Date.now() + ms; Date.now() < deadline; await sleep(25)) {
    const answer = await ask();
    if (answer !== false) return answer;
  }
  throw new Error(`waited in vain: ${what}`);
}

const running = (one: Up) =>
  until(
    "up",
    () => one.output().includes("Ctrl-C") || (one.child.exitCode !== null && Promise.reject(new Error(one.output()))),
  );
const cli = (argv: string, stdin = "") => lamplighter(argv.split(" "), { env, stdin });
const pidsOf = (part: string) => processes().flatMap(({ pid, command }) => (command.includes(part) ? [pid] : []));
const workload = "8641.25";

afterEach(async () => {
  for (const { child } of started.splice(0)) child.kill("SIGKILL");
  await stopLeftovers(dataDir, join(dataDir, "agent"));
});

afterAll(() => {
  for (const pid of [...pidsOf(dataDir), ...pidsOf(`sleep ${workload}`)]) process.kill(pid, "SIGKILL");
  rmSync(dataDir, { recursive: true, force: true });
});

describe("up", () => {
  test("prints what works as pasted, outlives kill -9 of everything, and leaves workloads running", {
    timeout: 60_000,
  }, async () => {
    const first = up("--port", String(await freePort()));
    await running(first);
    const token = readFileSync(join(dataDir, "root-token"), "utf8").trim();
    expect(token).toMatch(TOKEN_PATTERN);
    expect(statSync(join(dataDir, "root-token")).mode & 0o777).toBe(0o600);
    const [, bearer, url] = /curl -s -H 'Authorization: (Bearer \S+)' (\S+)/.exec(first.output()) ?? [];
    const response = await fetch(url as string, { headers: { authorization: bearer as string } });
    expect([response.status, await response.json()]).toEqual([200, []]);
    expect(chooseTarget({}, env)).toMatchObject({ token, from: "context local" });
    const port = new URL(url as string).port;

    const manifest = `name: sleeper\nruntime: process\nreplicas: 2\ncommand: [sleep, "${workload}"]\n`;
    const applied = await cli("apply -f - --wait", manifest);
    expect([applied.code, applied.err]).toEqual([0, expect.stringContaining("default/sleeper running")]);
    const pids = await until("two sleepers", () =>
      pidsOf(`sleep ${workload}`).length === 2 ? pidsOf(`sleep ${workload}`) : false,
    );

    const second = up("--port", port);
    expect(await second.ended).toBe(1);
    expect(second.output()).toContain(`already running on ${dataDir}: process ${first.child.pid}`);

    for (const { pid } of leftovers(dataDir, join(dataDir, "agent"))) process.kill(pid, "SIGKILL");
    await until(
      "both are back",
      () => first.output().includes("the control plane is back") && first.output().includes("the agent is back"),
    );

    first.child.kill("SIGKILL");
    await first.ended;
    expect(leftovers(dataDir, join(dataDir, "agent"))).toHaveLength(2);
    const third = up("--port", port);
    await running(third);
    expect(third.output()).toContain("stopped 2 processes that an earlier run had left behind");
    expect(third.output()).toContain(bearer);
    expect((await cli("deployment list")).out).toMatch(/sleeper +worker +process +2\/2 +running +0/);
    expect(pidsOf(`sleep ${workload}`).sort()).toEqual([...pids].sort());

    third.child.kill("SIGINT");
    expect(await third.ended).toBe(130);
    expect(third.output()).toContain("Workloads go on running");
    expect(leftovers(dataDir, join(dataDir, "agent"))).toEqual([]);
    expect(pidsOf(`sleep ${workload}`).sort()).toEqual([...pids].sort());
  });

  test("a port that is taken is told with who has it, and nothing is started", async () => {
    const server = createServer();
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    const { port } = server.address() as { port: number };
    const one = up("--port", String(port));
    expect(await one.ended).toBe(5);
    expect(one.output()).toContain(`port ${port} is in use by process ${process.pid}`);
    expect(leftovers(dataDir, join(dataDir, "agent"))).toEqual([]);
    server.close();
  });
});
