import { createExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import type { LogQuery, Question } from "../../contract/frame.ts";
import { newId } from "../../contract/id.ts";
import { accept, type Reply, refuse } from "../../contract/problem.ts";
import { app } from "../../src/app.ts";
import { ROOT, request, sleeper } from "./client.ts";

/** Reads a stream until `enough` says so, then goes away. */
async function readStream(response: Response, enough: (text: string) => boolean): Promise<string> {
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  const decoder = new TextDecoder();
  let text = "";
  while (!enough(text)) {
    const { done, value } = await reader.read();
    if (done) return text;
    text += decoder.decode(value, { stream: true });
  }
  await reader.cancel();
  return text;
}

const get = async (path: string, headers: Record<string, string> = {}, bindings: unknown = env) =>
  app.fetch(
    new Request(`http://lamplighter${path}`, { headers: { authorization: `Bearer ${ROOT}`, ...headers } }),
    bindings as Env,
    createExecutionContext(),
  );

describe("events as a stream", () => {
  it("come from the beginning or from where one stopped, and end when the deployment is gone", async () => {
    const { body } = await request<{ id: string }>("POST", "/deployments", { body: sleeper() });
    const path = `/deployments/${body.id}/events`;
    const stream = { accept: "text/event-stream" };
    const first = await get(path, stream);
    expect(first.headers.get("content-type")).toBe("text/event-stream");
    const text = await readStream(first, (all) => all.includes("id: 1\n"));
    expect(text).toMatch(/^retry: 1000\n\nid: 1\ndata: \{"id":"dep_[^\n]+\}\n\n/);

    const live = get(`${path}?after=0`, { ...stream, "last-event-id": "1" }).then(async (response) =>
      readStream(await response, () => false),
    );
    await scheduler.wait(50);
    await request("DELETE", `/deployments/${body.id}`, { headers: { prefer: "wait=10" } });
    const rest = await live;
    expect(rest).not.toContain("id: 1\n");
    expect(rest).toContain("deletion_requested");
    expect(rest.endsWith('event: end\ndata: {"reason":"gone"}\n\n')).toBe(true);
    expect((await get(path, stream)).status).toBe(404);
  });
});

/** A deployment of three instances, on a host that answers, one that is away, and one that never answers. */
function world(options: { status?: string; lines?: (query: LogQuery) => string[]; silent?: boolean } = {}) {
  const id = newId("deployment", Date.now());
  const hosts = ["host_up", "host_away", ...(options.silent ? ["host_silent"] : [])];
  const instances = hosts.map((host_id, slot) => ({
    workload_id: `${id}-${slot}`,
    instance_id: `${id}-${slot}-g1`,
    generation: 1,
    slot,
    host_id,
  }));
  const asked: LogQuery[] = [];
  const cancelled: string[] = [];
  const view = {
    id,
    name: "web",
    namespace: "shop",
    status: options.status ?? "running",
    restart_count: 2,
    revision: 4,
    event_cursor: 3,
    allowedActions: {},
    instances: instances.map(({ instance_id }) => ({ id: instance_id, phase: "running" })),
  };
  const deployment = {
    read: async () => accept({ status: 200, body: JSON.stringify(view), revision: 4 }),
    running: async () => accept(instances),
    follow: async () => scheduler.wait(20).then(() => accept([])),
  };
  const host = (name: string) => ({
    logs: async (query: LogQuery): Promise<Reply<ReadableStream<Uint8Array>>> => {
      asked.push(query);
      if (name === "host_away") return refuse("host_unavailable", "Host away is not connected.");
      if (name === "host_silent") return new Promise(() => undefined);
      const chunks = options.lines?.(query) ?? [];
      const encoder = new TextEncoder();
      return accept(
        new ReadableStream({
          start(controller) {
            for (const chunk of chunks) controller.enqueue(encoder.encode(chunk));
            if (!query.follow || options.status === "failed") controller.close();
          },
          cancel: () => void cancelled.push(name),
        }),
      );
    },
    ask: async (question: Question): Promise<Reply<string>> => {
      if (name === "host_away") return refuse("host_unavailable", "Host away is not connected.");
      if (question.verb === "exec")
        return accept(
          JSON.stringify({ exit_code: 0, stdout: question.command.join(" "), stderr: "", truncated: false }),
        );
      const stats = {
        instance_id: `${id}-0-g1`,
        instance_name: "web-0",
        cpu_usage_percent: 12.5,
        memory: { usage_bytes: 50, limit_bytes: 200, usage_percent: 25 },
        network: { rx_bytes: 1, tx_bytes: 2, rx_packets: 3, tx_packets: 4 },
        disk_io: { read_bytes: 5, write_bytes: 6 },
        pids: { current: 7, limit: 0 },
      };
      return accept(JSON.stringify([stats]));
    },
  });
  const kept: { action: string; actor: string; namespace: string }[] = [];
  const bindings = {
    ROOT_TOKEN_HASH: env.ROOT_TOKEN_HASH,
    DEPLOYMENT: { getByName: () => deployment },
    HOST: { getByName: host },
    INDEX: { getByName: () => ({ record: async (entry: (typeof kept)[number]) => void kept.push(entry) }) },
  };
  return { id, asked, cancelled, kept, bindings, path: `/deployments/${id}` };
}

const line = (instance: string, message: string, second: number) => ({
  instance,
  stream: "stdout",
  message,
  level: "info",
  timestamp: new Date(Date.UTC(2026, 0, 1, 0, 0, second)).toISOString(),
});

describe("logs", () => {
  // Portions end where they like: in the middle of a line of the stream, and of a character.
  const lines = ({ workload_id }: LogQuery) => {
    const from = `${workload_id}-g1`;
    const text = `${JSON.stringify([line(from, "b", 2), line(from, "d", 4)])}\n${JSON.stringify([line(from, "c ü", 3)])}\n`;
    return [text.slice(0, 30), text.slice(30, 200), text.slice(200)];
  };

  it("are merged in order of time, and say which host could not be asked", async () => {
    const { path, id, asked, bindings } = world({ lines });
    const response = await get(`${path}/logs?tail=3&since=10m`, {}, bindings);
    const all = (await response.json()) as { instance: string; message: string; level: string }[];
    expect(all.map(({ message }) => message)).toEqual([
      "c ü",
      "d",
      expect.stringContaining("could not be read from host_away: Host away is not connected."),
    ]);
    expect(all[0]?.instance).toBe(`${id}-0-g1`);
    expect(all[2]).toMatchObject({ level: "warning", instance: `${id}-1-g1` });
    expect(asked[0]).toMatchObject({ tail: 3, follow: false, generation: 1, workload_id: `${id}-0` });
    expect(Math.abs((asked[0]?.since as number) - (Date.now() - 600_000))).toBeLessThan(5_000);
  });

  it("are those of one instance when it is named", async () => {
    const { path, id, asked, bindings } = world({ lines });
    const response = await get(`${path}/logs?container=${id}-0&since=2026-01-01T00:00:03Z`, {}, bindings);
    expect((await response.json()) as unknown[]).toHaveLength(3);
    expect(asked).toMatchObject([{ since: Date.UTC(2026, 0, 1, 0, 0, 3), tail: 100 }]);
    for (const since of ["soon", "10", "10w", "2026-13-01T00:00:00Z", "-5m"])
      expect((await get(`${path}/logs?since=${since}`, {}, bindings)).status, since).toBe(400);
  });

  it("do not wait for a host that never answers", { timeout: 20_000 }, async () => {
    const { path, bindings } = world({ lines, silent: true });
    const all = (await (await get(`${path}/logs`, {}, bindings)).json()) as { message: string }[];
    expect(
      all.map(({ message }) => message).filter((message) => message.includes("no answer within 5 s")),
    ).toHaveLength(1);
    expect(all).toHaveLength(5);
  });

  it("are followed until the reader goes, and the agent is told to stop", async () => {
    const { path, cancelled, bindings } = world({ lines });
    const stream = await get(`${path}/logs?follow=true`, {}, bindings);
    const seen = await readStream(stream, (all) => all.includes('"d"') && all.includes("host_away"));
    const messages = [...seen.matchAll(/"message":"([bcd])/g)].map(([, message]) => message);
    expect(messages).toEqual(["b", "c", "d"]);
    for (let i = 0; i < 100 && cancelled.length === 0; i++) await scheduler.wait(20);
    expect(cancelled).toEqual(["host_up"]);
  });

  it("go on over restarts, each line once", async () => {
    const { path, id, bindings } = world();
    const workload = { workload_id: `${id}-0`, slot: 0, host_id: "host_up" };
    // Two lines of one generation, and the first of the next, within the same millisecond.
    const all = [
      [line(`${id}-0-g1`, "1", 1), line(`${id}-0-g1`, "2", 2), line(`${id}-0-g1`, "3", 2)],
      [line(`${id}-0-g2`, "4", 2), line(`${id}-0-g2`, "5", 3)],
      [line(`${id}-0-g3`, "6", 4)],
    ];
    let generation = 1;
    const status = () => (generation === 3 ? "failed" : "running");
    const view = () => ({ id, status: status(), event_cursor: generation, instances: [] });
    let open = 0;
    // As an agent does: every generation up to the asked one from `since` on, and without an end when it is followed.
    const logs = async (query: LogQuery): Promise<Reply<ReadableStream<Uint8Array>>> => {
      const lines = all
        .slice(0, query.generation)
        .flat()
        .filter(({ timestamp }) => Date.parse(timestamp) >= (query.since ?? 0));
      if (query.follow) open++;
      return accept(
        new ReadableStream({
          start(controller) {
            controller.enqueue(new TextEncoder().encode(`${JSON.stringify(lines)}\n`));
            if (!query.follow) controller.close();
          },
          cancel: () => void open--,
        }),
      );
    };
    const deployment = {
      read: async () => accept({ status: 200, body: JSON.stringify(view()), revision: 1 }),
      running: async () => accept([{ ...workload, generation, instance_id: `${id}-0-g${generation}` }]),
      follow: async () => {
        await scheduler.wait(150);
        generation++;
        return accept([]);
      },
    };
    const own = { ...bindings, DEPLOYMENT: { getByName: () => deployment }, HOST: { getByName: () => ({ logs }) } };
    const text = await readStream(await get(`${path}/logs?follow=true`, {}, own), () => false);
    expect([...text.matchAll(/"message":"(\d)"/g)].map(([, message]) => message)).toEqual([
      "1",
      "2",
      "3",
      "4",
      "5",
      "6",
    ]);
    expect(open).toBe(0);
    generation = 1;
    const one = await readStream(await get(`${path}/logs?follow=true&container=${id}-0-g2`, {}, own), () => false);
    expect([...one.matchAll(/"message":"(\d)"/g)].map(([, message]) => message)).toEqual(["4", "5"]);
  });

  it("that are followed end when the deployment has ended", async () => {
    const { path, bindings } = world({ lines, status: "failed" });
    const all = await readStream(await get(`${path}/logs?follow`, {}, bindings), () => false);
    expect(all).toContain('"message":"d"');
    expect(all.endsWith('event: end\ndata: {"reason":"ended"}\n\n')).toBe(true);
  });
});

describe("metrics", () => {
  it("are summed over the hosts that answer, and name the others", async () => {
    const { path, id, bindings } = world();
    expect(await (await get(`${path}/metrics`, {}, bindings)).json()).toMatchObject({
      deployment_id: id,
      deployment_name: "web",
      instance_count: 1,
      total_cpu_usage_percent: 12.5,
      total_memory: { usage_bytes: 50, limit_bytes: 200, usage_percent: 25 },
      total_network: { rx_bytes: 1, tx_bytes: 2, rx_packets: 3, tx_packets: 4 },
      total_disk_io: { read_bytes: 5, write_bytes: 6 },
      total_pids: 7,
      instances: [{ instance_id: `${id}-0-g1`, restart_count: 2 }],
      unavailable: [{ host_id: "host_away", instances: [`${id}-1-g1`], reason: "Host away is not connected." }],
    });
  });
});

describe("exec", () => {
  const exec = async (path: string, body: unknown, bindings: unknown) =>
    app.fetch(
      new Request(`http://lamplighter${path}/exec`, {
        method: "POST",
        headers: { authorization: `Bearer ${ROOT}`, "content-type": "application/json" },
        body: JSON.stringify(body),
      }),
      bindings as Env,
      createExecutionContext(),
    );

  it("runs in the instance that is meant, and is kept in the trail without its arguments", async () => {
    const { path, id, kept, bindings } = world();
    const done = await exec(path, { command: ["echo", "secret"] }, bindings);
    expect([done.status, await done.json()]).toEqual([
      200,
      { exit_code: 0, stdout: "echo secret", stderr: "", truncated: false },
    ]);
    expect(kept).toMatchObject([{ action: "exec", actor: "root", namespace: "shop", resource_id: id }]);
    expect(JSON.stringify(kept)).not.toContain("secret");
    const away = await exec(path, { command: ["ls"], instance: `${id}-1` }, bindings);
    expect([away.status, away.headers.get("retry-after")]).toEqual([503, "5"]);
    const unknown = await exec(path, { command: ["ls"], instance: "dep_x" }, bindings);
    expect(await unknown.json()).toMatchObject({
      status: 422,
      violations: [{ property_path: "instance", code: "exec.instance.unknown" }],
    });
    expect((await exec(path, { command: [], timeout: "1h" }, bindings)).status).toBe(422);
  });
});

describe("an object that cannot answer", () => {
  const failing = (error: unknown) => {
    const made: number[] = [];
    const read = async () => {
      if (made.length < 3 || (error as { always?: boolean }).always) throw error;
      return accept({ status: 200, body: "{}", revision: 1 });
    };
    return {
      made,
      bindings: { ROOT_TOKEN_HASH: env.ROOT_TOKEN_HASH, DEPLOYMENT: { getByName: () => made.push(1) && { read } } },
    };
  };
  const path = () => `/deployments/${newId("deployment", Date.now())}`;
  const flagged = (flags: Record<string, boolean>) => Object.assign(new Error("SELECT secret FROM token"), flags);

  it("is called again with a new stub when that may help", async () => {
    const { made, bindings } = failing(flagged({ retryable: true }));
    expect((await get(path(), {}, bindings)).status).toBe(200);
    expect(made).toHaveLength(3);
  });

  it("is left alone when it has too much to do, and the caller told to wait", async () => {
    for (const flags of [
      { retryable: true, overloaded: true },
      { overloaded: true },
      { retryable: true, always: true },
    ]) {
      const { made, bindings } = failing(flagged(flags));
      const answer = await get(path(), {}, bindings);
      expect([
        answer.status,
        answer.headers.get("retry-after"),
        ((await answer.json()) as { code: string }).code,
      ]).toEqual([503, "1", "overloaded"]);
      expect(made).toHaveLength("always" in flags ? 3 : 1);
    }
  });

  it("is logged once, and the answer does not say more than the request's id", async () => {
    const lines: string[] = [];
    const log = console.error;
    console.error = (text: string) => void lines.push(text);
    const { bindings } = failing(flagged({ always: true }));
    const answer = await get(`${path()}?token=hidden`, { "x-request-id": "find-me" }, bindings).finally(() => {
      console.error = log;
    });
    const body = await answer.text();
    expect(answer.status).toBe(500);
    expect(body).not.toContain("SELECT");
    expect(JSON.parse(body)).toMatchObject({ code: "internal", request_id: "find-me" });
    expect(lines).toHaveLength(1);
    expect(JSON.parse(lines[0] as string)).toMatchObject({ level: "error", request_id: "find-me", method: "GET" });
    expect(lines[0]).not.toContain("hidden");
    expect(lines[0]).not.toContain(ROOT);
  });
});
