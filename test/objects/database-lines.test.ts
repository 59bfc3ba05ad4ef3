// The lines of gateways to a DatabaseObject, and what its host and they have to say.
import { evictDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, inject, test, vi } from "vitest";
import { newId } from "../../contract/id.ts";
import type { Observation, Workload } from "../../contract/workload.ts";
import { remote } from "../../objects/remote.ts";
import type { TokenObject } from "../../objects/token/object.ts";
import { newSecret, sha256Hex } from "../../objects/token/secret.ts";
import { create, hostFor, mutation, reasons, stub, until, upAt, view } from "./database-world.ts";
import { SimulatedGateway as Gate } from "./simulated-gateway.ts";

describe("a database", () => {
  test("says what its host and its gateways cannot do, for as long as they cannot", async () => {
    const { agent, placement, starts } = await hostFor();
    const { id } = await create({ placement });
    const gate = await new Gate(id).dial();
    gate.connect();
    await until(() => gate.term === 1, "let in");
    const up = upAt(starts[0] as Workload) as Extract<Observation, { phase: "running" }>;
    const notes = [{ code: "commits_wait", message: "commits wait: 0 of 1 keepers follow" }];
    await agent.report({ ...up, at: Date.now() + 1, notes });
    await until(async () => (await view(id)).reason === "commits_wait", "told");
    await evictDurableObject(stub(id));
    expect(await view(id)).toMatchObject({ state: "ready", message: notes[0]?.message });
    await agent.report({ ...up, at: Date.now() + 2 });
    await until(async () => (await view(id)).reason === "ready", "over");
    expect((await reasons(id)).filter((one) => one.startsWith("commits_wait"))).toEqual([
      "commits_wait",
      "commits_wait_over",
    ]);
    for (const suspect of ["connect ECONNREFUSED", null]) {
      gate.suspect = suspect;
      gate.say();
      await until(
        async () => (await view(id)).awake_because[0]?.unreachable === suspect,
        "suspected, and not any more",
      );
    }
    gate.close();
  });

  test("hangs up on a gateway whose token was revoked, and on no other", async () => {
    const { id } = await create();
    const token = newId("token", Date.now());
    const tokens = remote<TokenObject>(env.TOKEN, token);
    const secret = newSecret();
    const grant = { scopes: ["databases:connect" as const], namespaces: [], labels: {}, kind: "access" as const };
    const ends = { expires_at: null, uses_left: null, user_id: null, idle_ms: null, sealed: null };
    const draft = { name: "gate", hash: await sha256Hex(secret), ...grant, ...ends };
    expect(await tokens.create(draft, mutation())).toMatchObject({ ok: true });
    const bearer = `lamp_${token.slice(4)}_${secret}`;
    const [root, gate, other] = [new Gate(id), new Gate(id), new Gate(id)];
    await root.dial(inject("rootToken"));
    await gate.dial(bearer);
    await other.dial(`lamp_${newId("token", Date.now()).slice(4)}_${secret}`);
    for (const each of [root, gate, other]) each.say();
    await until(() => other.closed !== null, "a token that there is not");
    expect(other.closed?.code).toBe(1008);
    await tokens.revoke(mutation(), { token_id: "root", name: "root", scopes: ["admin"], namespaces: [] });
    // It is believed for half a minute; the leases are renewed meanwhile.
    const from = Date.now();
    for (const later of [10_000, 20_000, 31_000]) {
      vi.useFakeTimers({ toFake: ["Date"], now: from + later });
      for (const each of [gate, root]) {
        const before = each.count("granted");
        if (each.closed === null) each.say();
        await until(() => each.closed !== null || each.count("granted") > before, "renewed");
      }
    }
    await until(() => gate.closed !== null, "the revoked one");
    vi.useRealTimers();
    expect(gate.closed?.code).toBe(1008);
    expect(root.closed).toBeNull();
    root.close();
  });
});
