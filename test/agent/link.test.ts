import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Conversation } from "../../agent/link/conversation.ts";
import { Outbox } from "../../agent/link/outbox.ts";
import { Tunnel } from "../../agent/link/tunnel.ts";
import { runAgent } from "../../agent/main.ts";
import { generateKeyPair, importPrivateKey, importPublicKey, seal } from "../../contract/envelope.ts";
import type { ControlBody } from "../../contract/frame.ts";
import { cleanups, kinds, linked, none, tidyAfterEach } from "./linked-agent.ts";
import { eventually, folder, sh, workload } from "./workload.ts";

tidyAfterEach();

describe.each(["tunnel", "call"] as const)("over %s", (transport) => {
  test("it joins, says who it is and all that it knows, and settles", async () => {
    const { plane, agent, dataDir } = await linked(transport, folder(), { name: "one", labels: { zone: "a" } });
    expect(agent.hostId).toBe(plane.hostId);
    expect(plane.enrolments).toMatchObject([{ name: "one", labels: { zone: "a" }, transport }]);
    expect(kinds(plane).slice(0, 3)).toEqual(["hello", "inventory", "settled"]);
    expect(plane.heard[0]?.body).toMatchObject({
      runtimes: [{ runtime: "process" }, { runtime: "proxy" }],
      capacity: { memory_bytes: expect.any(Number) },
      policy: { privileged: false, host_mounts: [] },
    });
    expect(statSync(join(dataDir, "identity.json")).mode & 0o777).toBe(0o600);
  });

  test("it runs what it is told, says what becomes of it, and answers questions about it", async () => {
    const { plane } = await linked(transport);
    const made = workload({ spec: { command: sh("echo hello; sleep 0.3; exit 5") } });
    await plane.apply(made);
    await plane.phase(made.id, "running");
    expect(await plane.phase(made.id, "exited")).toMatchObject({ exit: { code: 5 } });

    const query = { workload_id: made.id, generation: 1, tail: 5, since: null, follow: false };
    const question = { verb: "logs" as const, query };
    if (transport === "tunnel") {
      expect(await plane.ask(question)).toMatchObject({ data: [[{ message: "hello" }]], error: null });
      expect(await plane.ask({ verb: "stats", workload_ids: [made.id] })).toMatchObject({ error: null });
      expect(await plane.ask({ ...question, query: { ...query, workload_id: "dep_none-0" } })).toMatchObject({
        data: [],
        error: { code: "not_found" },
      });
    } else {
      const response = await plane.say({ kind: "ask", op: "a", question });
      const lines = (await response?.text())
        ?.trim()
        .split("\n")
        .map((line) => JSON.parse(JSON.parse(line).p).body);
      expect(lines).toMatchObject([
        { kind: "chunk", op: "a", data: [{ message: "hello" }] },
        { kind: "end", op: "a", error: null },
      ]);
    }
    await plane.apply({ ...made, want: "gone" });
    await plane.phase(made.id, "gone");
  });

  test("it removes what the control plane does not name when it comes back, and only then is settled", async () => {
    const { plane, dataDir } = await linked(transport);
    const [kept, left] = [workload(), workload()];
    await plane.apply(kept, left);
    const { started_at } = await plane.phase(kept.id, "running");
    await plane.phase(left.id, "running");
    plane.desired = [kept];
    plane.revision = 50;
    // Over `call` a frame that was overtaken has the whole said again.
    if (transport === "tunnel") plane.cut();
    else await plane.say({ kind: "apply", revision: 50, workloads: [] }, (frame) => ({ ...frame, seq: 1 }));
    await plane.until(() => plane.settled.includes(50), "settled at 50");
    await eventually(() => none(dataDir).length === 1, "its folder is gone");
    expect(none(dataDir)).toEqual([kept.id]);
    expect(await plane.phase(kept.id, "running")).toMatchObject({ started_at });
  });

  test("a removed host stops everything, and forgets who it was", async () => {
    const { plane, agent, dataDir, options } = await linked(transport);
    const made = workload();
    await plane.apply(made);
    await plane.phase(made.id, "running");
    plane.refuse = 410;
    plane.cut();
    if (transport === "call")
      await plane.say({ kind: "apply", revision: 50, workloads: [] }, (frame) => ({ ...frame, seq: 1 }));
    expect(await agent.stopped).toEqual({ reason: "removed" });
    expect(none(dataDir)).toEqual([]);
    expect(readdirSync(dataDir)).not.toContain("identity.json");
    await expect(runAgent({ ...options, joinToken: undefined })).rejects.toThrow("no join token");
  });

  test("dismissed, it does the same", async () => {
    const { plane, agent, dataDir } = await linked(transport);
    const made = workload();
    await plane.apply(made);
    await plane.phase(made.id, "running");
    await plane.say({ kind: "dismiss" });
    expect(await agent.stopped).toEqual({ reason: "removed" });
    expect(none(dataDir)).toEqual([]);
  });

  test("closed, it leaves everything running, and takes it up again without a restart", async () => {
    const { plane, agent, dataDir, options } = await linked(transport);
    const made = workload();
    await plane.apply(made);
    const { started_at } = await plane.phase(made.id, "running");
    cleanups.splice(1);
    await agent.close();
    expect(await agent.stopped).toEqual({ reason: "closed" });
    plane.seen.clear();
    const again = await runAgent(options);
    cleanups.push(() => again.close());
    expect(await plane.phase(made.id, "running")).toMatchObject({ started_at });
    expect(plane.enrolments).toHaveLength(1);
    await plane.apply({ ...made, want: "gone" });
    await plane.phase(made.id, "gone");
    expect(none(dataDir)).toEqual([]);
  });

  test("nothing but a frame of the control plane, for this host, now, is acted on", async () => {
    const { plane, dataDir } = await linked(transport);
    const other = await importPrivateKey((await generateKeyPair()).privateKey);
    const made = workload();
    const body: ControlBody = { kind: "apply", revision: 9, workloads: [made] };
    const frame = plane.frame(body);
    const bad: (string | Promise<string>)[] = [
      "",
      "{}",
      "[]",
      "null",
      JSON.stringify({ p: JSON.stringify(frame), s: "" }),
      JSON.stringify({ p: JSON.stringify(frame), s: "!!!" }),
      seal(other, frame),
      plane.sealed({ ...frame, host_id: "host_another" }),
      plane.sealed({ ...frame, session: "another" }),
      plane.sealed({ ...frame, body: { kind: "apply", revision: "9", workloads: [made] } }),
      plane.sealed({ ...frame, body: { kind: "launch", workloads: [made] } }),
      ...(transport === "call"
        ? [plane.sealed({ ...frame, at: Date.now() - 400_000 }), plane.sealed({ ...frame, at: Date.now() + 400_000 })]
        : [plane.sealed({ ...frame, seq: frame.seq + 1 }), plane.sealed({ ...frame, seq: 1 })]),
    ];
    for (const text of bad) {
      const connections = plane.connections;
      const response = await plane.sayText(await text);
      if (transport === "call") expect(response?.status).toBeGreaterThanOrEqual(400);
      // On a tunnel it ends the connection, and the next one restates everything.
      else
        await plane.until(
          () => plane.connections > connections && plane.heard.at(-1)?.body.kind === "settled",
          "a new connection",
        );
    }
    expect(none(dataDir)).toEqual([]);
    expect(plane.seen.size).toBe(0);
  });

  test("a frame that is said again is not acted on again", async () => {
    const { plane } = await linked(transport);
    const made = workload();
    const text = await plane.sealed(plane.frame({ kind: "apply", revision: 9, workloads: [made] }));
    plane.desired = [made];
    await plane.sayText(text);
    await plane.phase(made.id, "running");
    await plane.apply({ ...made, want: "gone" });
    await plane.phase(made.id, "gone");
    const response = await plane.sayText(text);
    if (transport === "call") expect(response?.status).toBe(409);
    else await plane.until(() => plane.connections === 2, "a new connection");
    expect(plane.seen.get(made.id)?.phase).toBe("gone");
  });
});

describe("over a tunnel", () => {
  test("a control plane that cannot prove who it is gets no answer", async () => {
    const { plane, lines } = await linked("tunnel");
    const heard = plane.heard.length;
    let challenges = 0;
    plane.challenge = (frame) => {
      challenges++;
      const wrong = challenges % 3;
      if (wrong === 0) return { ...frame, seq: 2 };
      if (wrong === 1)
        return { ...frame, body: { kind: "challenge", answers: "another-nonce-of-an-older-connection" } };
      return { ...frame, body: { kind: "desired", revision: 1, workloads: [], last: true } };
    };
    plane.cut();
    await eventually(() => challenges >= 3, "it has tried three times");
    expect(plane.heard.length).toBe(heard);
    expect(lines.some((line) => line.includes("could not prove who it is"))).toBe(true);
    plane.challenge = null;
    await plane.until(() => plane.heard.length > heard, "it is linked again");
  });

  test("cut again and again, in the middle of everything, it says in the end what is", async () => {
    const { plane } = await linked("tunnel");
    const all = Array.from({ length: 6 }, () => workload({ spec: { command: sh("sleep 0.3; exit 1") } }));
    plane.desired = [...all];
    for (const made of all) {
      await plane.apply(made);
      plane.cut();
      await plane.until(() => plane.heard.at(-1)?.body.kind !== "hello", "some frame");
    }
    for (const made of all)
      expect(await plane.phase(made.id, "exited")).toMatchObject({
        generation: 1,
        exit: { code: 1, evidence: "kept" },
      });
  });

  test("refused, it says so with the clocks", async () => {
    const { plane, lines, agent } = await linked("tunnel");
    plane.refuse = 401;
    plane.cut();
    await eventually(
      () => lines.some((line) => line.includes("refuses this host (HTTP 401; its clock and this host's agree)")),
      "it says so",
    );
    // It dials again in some seconds, which are not waited for.
    cleanups.splice(1);
    await agent.close();
  });

  test("a control plane that does not answer pings is dialled again", async () => {
    const { plane, options, agent } = await linked("tunnel");
    cleanups.splice(1);
    await agent.close();
    const { private_key, control_public_key, host_id } = JSON.parse(
      readFileSync(join(options.dataDir, "identity.json"), "utf8"),
    );
    const peer = {
      hostId: host_id,
      bootId: "boot",
      url: plane.url,
      privateKey: await importPrivateKey(private_key),
      controlKey: await importPublicKey(control_public_key),
    };
    const hello = { kind: "heartbeat" as const };
    const outbox = new Outbox({
      hello: () => hello,
      facts: () => hello,
      inventory: () => [],
      observation: () => null,
      health: () => [],
      renewal: () => null,
    });
    const never = () => {
      throw new Error("not in this test");
    };
    const hearing = { accept: never, acceptAll: () => {}, answer: never, renewed: never, dismissed: never };
    const lines: string[] = [];
    const conversation = new Conversation(hearing);
    const tunnel = new Tunnel({ peer, outbox, conversation, log: (line) => lines.push(line), heartbeatMs: 200 });
    cleanups.push(() => tunnel.close());
    await eventually(() => plane.pings > 10, "it pings");
    const { connections } = plane;
    plane.mute = true;
    await plane.until(() => plane.connections > connections, "it dials again");
    expect(lines.some((line) => line.includes("does not answer"))).toBe(true);
    expect(connections).toBe(2);
  });

  test("a full set in parts counts when it is whole, and an order in between is not lost", async () => {
    const { plane, dataDir } = await linked("tunnel");
    const [one, two, three] = [workload(), workload(), workload()];
    await plane.apply(one);
    await plane.phase(one.id, "running");
    await plane.say({ kind: "desired", revision: 20, workloads: [two], last: false });
    await plane.say({ kind: "apply", revision: 21, workloads: [three] });
    await plane.phase(three.id, "running");
    expect(plane.seen.get(one.id)?.phase).toBe("running");
    expect(plane.seen.has(two.id)).toBe(false);
    await plane.say({ kind: "desired", revision: 20, workloads: [], last: true });
    await plane.phase(one.id, "gone");
    await plane.phase(two.id, "running");
    await plane.until(() => plane.settled.includes(20), "settled at 20");
    await eventually(() => none(dataDir).length === 2, "its folder is gone");
    expect(none(dataDir).sort()).toEqual([two.id, three.id].sort());
  });

  test("logs that are followed come as they are written, until the question is withdrawn", async () => {
    const { plane } = await linked("tunnel");
    const made = workload({ spec: { command: sh("while :; do echo tick; sleep 0.05; done") } });
    await plane.apply(made);
    await plane.phase(made.id, "running");
    const query = { workload_id: made.id, generation: 1, tail: null, since: null, follow: true };
    const answered = plane.ask({ verb: "logs", query }, "follow");
    await plane.until(() => kinds(plane).filter((kind) => kind === "chunk").length >= 3, "three chunks");
    await plane.say({ kind: "cancel", op: "follow" });
    expect(await answered).toMatchObject({ error: null });
  });

  test("whatever comes, nothing throws and nothing is done", async () => {
    const { plane, dataDir, lines } = await linked("tunnel");
    const json = fc.oneof(fc.json(), fc.string());
    const body = fc.oneof(
      fc.jsonValue(),
      fc.record({
        kind: fc.constantFrom("desired", "apply", "ask", "cancel", "dismiss "),
        revision: fc.jsonValue(),
        workloads: fc.jsonValue(),
        op: fc.jsonValue(),
      }),
    );
    await fc.assert(
      fc.asyncProperty(json, body, fc.boolean(), async (text, value, signed) => {
        const connections = plane.connections;
        await plane.sayText(
          signed ? await plane.sealed({ ...plane.frame({ kind: "ok" }), body: value }) : text === "pong" ? "" : text,
        );
        await plane.until(
          () => plane.connections > connections && plane.heard.at(-1)?.body.kind === "settled",
          "a new connection",
        );
      }),
      { numRuns: 40, seed: 7 },
    );
    expect(none(dataDir)).toEqual([]);
    expect(lines.some((line) => line.includes("TypeError"))).toBe(false);
  });
});

describe("over call", () => {
  test("whatever comes, it is refused and nothing is done", async () => {
    const { plane, dataDir } = await linked("call");
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.json(), fc.string()), fc.jsonValue(), fc.boolean(), async (text, body, signed) => {
        const sent = signed ? await plane.sealed({ ...plane.frame({ kind: "ok" }), body }) : text;
        expect((await plane.sayText(sent))?.status).toBe(403);
      }),
      { numRuns: 300, seed: 7 },
    );
    for (const [path, method] of [
      ["/", "GET"],
      ["/frames", "GET"],
      ["/other", "POST"],
    ] as const) {
      expect((await fetch(`${plane.endpoint}${path}`, { method })).status).toBe(404);
    }
    expect(none(dataDir)).toEqual([]);
  });

  test("a control plane that was away is told the whole again", async () => {
    const { plane, lines } = await linked("call");
    plane.refuse = 503;
    const made = workload();
    await plane.apply(made);
    await eventually(() => lines.some((line) => line.includes("HTTP 503")), "it has tried");
    plane.refuse = null;
    plane.desired = [made];
    await plane.phase(made.id, "running");
    expect(kinds(plane).filter((kind) => kind === "hello").length).toBeGreaterThan(1);
  });
});
