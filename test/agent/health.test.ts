import { createServer, type RequestListener } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import type { Driver } from "../../agent/driver.ts";
import { RuntimeSilent } from "../../agent/driver.ts";
import { Prober, type ProberOptions } from "../../agent/health/prober.ts";
import { Ledger } from "../../agent/ledger.ts";
import type { Subject } from "../../agent/subject.ts";
import type { HealthResult, Probe } from "../../contract/health.ts";
import type { ExecResult, WorkloadSpec } from "../../contract/workload.ts";
import { eventually, folder, spec } from "./workload.ts";

type Pace = Partial<Omit<Probe, "type">>;
const pace = (over: Pace) => ({
  interval_ms: 100,
  timeout_ms: 300,
  threshold: 3,
  readiness: false,
  min_healthy_ms: 0,
  start_period_ms: 0,
  ...over,
});
const http = (url: string, over: Pace = {}): Probe => ({ type: "http", url, ...pace(over) });
const tcp = (port: number, over: Pace = {}): Probe => ({ type: "tcp", port, ...pace(over) });
const command = (...words: string[]): Probe => ({ type: "command", command: words, ...pace({}) });

function subject(checks: Probe[], over: Partial<Subject> = {}, more: Partial<WorkloadSpec> = {}): Subject {
  const seen = { id: "w", generation: 1, at: 1, phase: "running" as const, started_at: Date.now() };
  return {
    id: "w",
    generation: 1,
    spec: spec({ health_checks: checks, ...more }),
    probing: "all",
    seen: { ...seen, address: "127.0.0.1:20000", image_digest: null, notes: [] },
    ...over,
  };
}

/** A prober whose news is collected as the control plane would hear it. */
function start(dataDir = folder(), driver: Partial<Driver> | "waiting" = {}, over: Partial<ProberOptions> = {}) {
  const told: HealthResult[] = [];
  const ledger = Ledger.open(dataDir);
  const prober = new Prober({
    ledger,
    driver: () => driver as Driver | "waiting",
    told: (results) => told.push(...results),
    log: () => {},
    ...over,
  });
  let isOpen = true;
  const close = (): void => {
    if (!isOpen) return;
    isOpen = false;
    prober.close();
    ledger.close();
  };
  onTestFinished(close);
  const of = (check: number): HealthResult[] => told.filter((result) => result.check === check);
  const says = (check = 0): string[] => of(check).map((it) => `${it.status} ${it.healthy} ${it.tripped}`);
  return { prober, told, of, says, close, ledger };
}

async function server(listener: RequestListener): Promise<{ port: number; url: string }> {
  const made = createServer(listener).listen(0, "127.0.0.1");
  await new Promise((resolve) => made.once("listening", resolve));
  onTestFinished(() => {
    made.closeAllConnections();
    made.close();
  });
  const { port } = made.address() as AddressInfo;
  return { port, url: `http://localhost:${port}/health?token=x` };
}

describe("http", () => {
  test("2xx is a success; anything else, a redirect too, is a failure that says what came", async () => {
    let answer = 204;
    let asked = 0;
    const { url, port } = await server((request, response) => {
      asked++;
      expect([request.method, request.url, request.headers.host]).toEqual([
        "GET",
        "/health?token=x",
        `localhost:${port}`,
      ]);
      response.writeHead(answer, answer === 302 ? { Location: "/elsewhere" } : {}).end("body");
    });
    const { prober, says, of } = start();
    prober.attend("w", subject([http(url, { threshold: 2 })]));
    await eventually(() => says().includes("success true 0"), "green");
    answer = 302;
    await eventually(() => says().includes("failed false 1"), "red");
    expect(of(0).at(-1)?.message).toBe(`GET localhost:${port}/health answered 302`);
    answer = 500;
    await eventually(() => says().includes("failed false 2"), "red again");
    answer = 200;
    await eventually(() => says().at(-1) === "success true 2", "green again");
    expect(says()).toEqual(["success true 0", "failed false 0", "failed false 1", "failed false 2", "success true 2"]);
    expect(asked).toBeGreaterThanOrEqual(6);
  });

  test("a server that hangs is a timeout, and is not asked twice at a time", async () => {
    let open = 0;
    let most = 0;
    const { url } = await server((_, response) => {
      most = Math.max(most, ++open);
      response.on("close", () => open--);
    });
    const { prober, says, of } = start();
    prober.attend("w", subject([http(url, { timeout_ms: 150, interval_ms: 50, threshold: 2 })]));
    await eventually(() => says().includes("timeout false 1"), "timed out");
    expect(of(0)[0]?.message).toMatch(/^no answer from localhost:\d+ within 150 ms$/);
    expect(most).toBe(1);
  });

  test("an endless body does not matter, and is not read", async () => {
    let written = 0;
    const { url } = await server((_, response) => {
      response.writeHead(200);
      const more = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(65_536))) written += 65_536;
        response.once("drain", more);
      };
      more();
    });
    const { prober, says } = start();
    prober.attend("w", subject([http(url, { interval_ms: 60_000 })]));
    await eventually(() => says().length > 0, "answered");
    const before = written;
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(says()).toEqual(["success true 0"]);
    expect(written - before).toBeLessThan(4 * 1024 ** 2);
  });
});

describe("tcp", () => {
  test("finds what listens on either loopback, and says why it does not", async () => {
    const six = createTcpServer().listen(0, "::1");
    await new Promise((resolve) => six.once("listening", resolve));
    onTestFinished(() => void six.close());
    const { port } = six.address() as AddressInfo;
    const { prober, says, of } = start();
    prober.attend("w", subject([tcp(port), tcp(1)]));
    await eventually(() => says(0).length > 0 && says(1).length > 0, "both were probed");
    expect(says(0)).toEqual(["success true 0"]);
    expect(of(1)[0]).toMatchObject({ status: "failed", message: "localhost:1: connection refused", type: "tcp" });
  });

  test("knocks at the port that a process was given, at a container's address, else at its published port", async () => {
    const { port } = await server((_, response) => response.end());
    const ports = [{ target: 80, published: port, host_ip: null, protocol: "tcp" as const }];
    const seen = { ...(subject([]).seen as NonNullable<Subject["seen"]>), ports };
    const container = { runtime: "docker" as const, image: "x" };
    const check = [tcp(80), http("http://127.0.0.1:80/x")];
    const process = start();
    process.prober.attend("w", subject(check, { seen }));
    const own = start();
    own.prober.attend("w", subject([tcp(port)], { seen: { ...seen, address: "127.0.0.1" } }, container));
    const reach = { own: false as const, host: "127.0.0.1" };
    const far = start(folder(), { reach: async () => reach });
    far.prober.attend("w", subject([...check, tcp(81)], { seen: { ...seen, address: "10.255.255.1" } }, container));
    const all = () => [far.says(0), far.says(1), far.of(2), process.says(0), process.says(1), own.says()];
    await eventually(() => all().every((results) => results.length > 0), "probed");
    for (const { says } of [process, far]) expect([says(0), says(1)]).toEqual([["success true 0"], ["success true 0"]]);
    expect(own.says()).toEqual(["success true 0"]);
    expect(far.of(2)[0]?.message).toMatch(/cannot be reached from this host, and its port 81 is not published/);
  });
});

describe("a command", () => {
  const answers = (answer: Partial<ExecResult>) => async () => ({
    exit_code: 0,
    stdout: "",
    stderr: "",
    truncated: false,
    ...answer,
  });

  test.each<[Partial<ExecResult>, string]>([
    [{ exit_code: 0 }, "success: exit code 0"],
    [{ exit_code: 3, stderr: "no [secret] here\nmore" }, "failed: exit code 3: no [secret] here"],
    [{ exit_code: 1, stdout: "it is hunter2" }, "failed: exit code 1: it is [hidden]"],
    [{ exit_code: null }, "timeout: no end within 300 ms"],
  ])("%j", async (answer, said) => {
    const { prober, told } = start(folder(), { exec: answers(answer) });
    prober.attend("w", subject([command("true")], {}, { environment: { PASSWORD: "hunter2" } }));
    await eventually(() => told.length > 0, "probed");
    expect(`${told[0]?.status}: ${told[0]?.message}`).toBe(said);
  });

  test("that the runtime does not answer says nothing about the instance", async () => {
    let asked = 0;
    const exec = async (): Promise<ExecResult> => {
      if (++asked < 3) throw new RuntimeSilent("gone");
      return answers({})();
    };
    const { prober, says } = start(folder(), { exec });
    prober.attend("w", subject([command("true")]));
    await eventually(() => says().length > 0, "probed");
    expect(says()).toEqual(["success true 0"]);
  });
});

describe("counting", () => {
  test("goes on over a restart of the agent: the third failure in a row is the third", async () => {
    const dataDir = folder();
    const slow = [tcp(1, { interval_ms: 200, threshold: 3 })];
    const it = subject(slow);
    const first = start(dataDir);
    first.prober.attend("w", it);
    await eventually(() => (first.ledger.tallies()[0]?.tally.toward ?? 0) === 2, "failed twice");
    first.close();
    expect(first.says()).toEqual(["failed false 0"]);

    const second = start(dataDir);
    second.prober.attend("w", it);
    expect(second.prober.all()).toMatchObject([{ status: "failed", tripped: 0, streak: 1 }]);
    await eventually(() => second.told.length > 0, "tripped");
    // A probe may have come too early to count.
    expect(second.told[0]).toMatchObject({
      tripped: 1,
      streak: expect.toSatisfy((streak) => streak === 3 || streak === 4),
    });
  });

  test("failures of a slow start do not count, and are seen", async () => {
    const { prober, of } = start();
    prober.attend("w", subject([tcp(1, { start_period_ms: 600, threshold: 1 })]));
    await eventually(() => of(0).at(-1)?.tripped === 1, "tripped");
    const [first, second] = of(0);
    expect(first).toMatchObject({ status: "failed", tripped: 0 });
    expect((second?.streak ?? 0) > 3 && (second?.started_at ?? 0) - (first?.started_at ?? 0) >= 450).toBe(true);
  });

  test("a new generation begins with nothing, and what is no longer wanted is forgotten", async () => {
    const dataDir = folder();
    const { prober, told, ledger } = start(dataDir);
    prober.attend("w", subject([tcp(1)]));
    await eventually(() => told.length > 0, "probed");
    prober.attend("w", subject([tcp(1)], { generation: 2 }));
    await eventually(() => told.at(-1)?.generation === 2, "probed");
    expect(ledger.tallies().map(({ generation }) => generation)).toEqual([2]);
    prober.attend("w", subject([tcp(1)], { generation: 2, seen: null }));
    expect(prober.all()).toMatchObject([{ generation: 2 }]);
    prober.attend("w", null);
    expect([prober.all(), ledger.tallies()]).toEqual([[], []]);
  });
});

describe("readiness", () => {
  test("is seen soon after it is so, whatever the interval, and held for its time before it is healthy", async () => {
    let isUp = false;
    const { url } = await server((_, response) => response.writeHead(isUp ? 200 : 503).end());
    const { prober, of } = start();
    prober.attend(
      "w",
      subject([http(url, { readiness: true, interval_ms: 60_000, min_healthy_ms: 700, threshold: 1 })]),
    );
    await eventually(() => of(0).length === 1, "red");
    await new Promise((resolve) => setTimeout(resolve, 600));
    isUp = true;
    const upAt = Date.now();
    await eventually(() => of(0).at(-1)?.healthy === true, "healthy");
    const [red, green, healthy] = of(0);
    expect(red).toMatchObject({ status: "failed", tripped: 1 });
    expect((green?.finished_at ?? 0) - upAt).toBeLessThan(1_300);
    expect((healthy?.finished_at ?? 0) - (green?.finished_at ?? 0)).toBeGreaterThanOrEqual(699);
    expect((healthy?.finished_at ?? 0) - (green?.finished_at ?? 0)).toBeLessThan(1_500);
  });

  test("comes first: the other checks begin when all of it has held, and only when they may", async () => {
    const asked: string[] = [];
    const { url } = await server((request, response) => {
      asked.push(request.headers["user-agent"] ?? "");
      response.end();
    });
    let isReady = false;
    const gate = await server((_, response) => response.writeHead(isReady ? 200 : 503).end());
    const { prober, says } = start();
    const checks = [http(gate.url, { readiness: true, threshold: 1000 }), http(url)];
    prober.attend("w", subject(checks, { probing: "all" }));
    await eventually(() => says(0).length === 1, "red");
    await new Promise((resolve) => setTimeout(resolve, 250));
    expect(asked).toEqual([]);
    const it = subject(checks, { probing: "readiness" });
    prober.attend("w", it);
    isReady = true;
    await eventually(() => says(0).includes("success true 0"), "ready");
    await new Promise((resolve) => setTimeout(resolve, 250));
    expect(asked).toEqual([]);
    prober.attend("w", { ...it, probing: "all" });
    await eventually(() => says(1).length > 0, "all run");
    prober.attend("w", { ...it, probing: "readiness" });
    await new Promise((resolve) => setTimeout(resolve, 150));
    const before = asked.length;
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(asked.length).toBe(before);
  });
});

test("five hundred instances that hang stall nothing, and each is probed at its own pace", async () => {
  const hanging = createTcpServer((socket) => socket.on("error", () => {})).listen(0, "0.0.0.0");
  await new Promise((resolve) => hanging.once("listening", resolve));
  onTestFinished(() => void hanging.close());
  const { port } = hanging.address() as AddressInfo;
  const { prober, told } = start();
  const many = 500;
  for (let i = 0; i < many; i++) {
    const seen = { ...(subject([]).seen as NonNullable<Subject["seen"]>), address: `127.1.${i >> 8}.${i & 255}` };
    const checks = [http(`http://localhost:${port}/`, { interval_ms: 1_000, timeout_ms: 400, threshold: 2 })];
    prober.attend(`w${i}`, subject(checks, { id: `w${i}`, seen }, { runtime: "docker", image: "x" }));
  }
  // What the thread works between two turns: other programs on the machine keep it waiting for longer.
  const worked = () => {
    const { user, system } = process.threadCpuUsage();
    return (user + system) / 1000;
  };
  let worst = 0;
  let before = worked();
  const pulse = setInterval(() => {
    worst = Math.max(worst, worked() - before);
    before = worked();
  }, 10);
  const trips = () => told.filter(({ tripped }) => tripped === 1);
  await eventually(() => trips().length === many, "all have tripped", 20_000);
  clearInterval(pulse);
  expect(told.every(({ status, message }) => status === "timeout" && message.includes("127.1."))).toBe(true);
  expect(worst).toBeLessThan(300);
  // Not in one instant.
  expect(new Set(trips().map(({ started_at }) => Math.floor(started_at / 20))).size).toBeGreaterThan(3);
});
