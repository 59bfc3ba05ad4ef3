import { listDurableObjectIds } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { toBase64Url } from "../../contract/envelope.ts";
import { HostId, newId, ulid } from "../../contract/id.ts";
import { isMintedHostId, mintHostId } from "../../src/mint.ts";
import { freeze, makeToken, NOW, request } from "./client.ts";

beforeAll(freeze);
afterAll(() => void vi.useRealTimers());

describe("what was made up", () => {
  it("wakes no object: neither a token nor a host", async () => {
    const { token } = await makeToken(["deployments:read"]);
    const known = async () =>
      (await listDurableObjectIds(env.TOKEN)).length + (await listDurableObjectIds(env.HOST)).length;
    const before = await known();
    for (let i = 0; i < 50; i++) {
      const secret = toBase64Url(crypto.getRandomValues(new Uint8Array(32)));
      expect((await request("GET", "/whoami", { token: `lamp_${ulid(NOW)}_${secret}` })).status).toBe(401);
      // The secret of one token is none of another's.
      expect((await request("GET", "/whoami", { token: `lamp_${ulid(NOW)}_${token.slice(-43)}` })).status).toBe(401);
      const host = newId("host", NOW);
      expect((await request("POST", `/hosts/${host}/frames`, { body: {} })).status).toBe(404);
      const tunnel = await request("GET", `/v1/hosts/${host}/tunnel`, {
        headers: { upgrade: "websocket", "lamplighter-connect": "{}" },
      });
      expect(tunnel.status).toBe(404);
    }
    expect(await known()).toBe(before);
  });
});

describe("a host's id", () => {
  it("is an id like every other, and carries its mark", async () => {
    const ids = await Promise.all(Array.from({ length: 200 }, (_, i) => mintHostId(env, NOW + i)));
    expect(new Set(ids).size).toBe(200);
    expect([...ids].sort()).toEqual(ids);
    for (const id of ids) {
      expect(HostId.safeParse(id).success).toBe(true);
      expect(await isMintedHostId(env, id)).toBe(true);
      const at = 5 + Math.floor(Math.random() * 26);
      const other = id[at] === "0" ? "1" : "0";
      expect(await isMintedHostId(env, id.slice(0, at) + other + id.slice(at + 1))).toBe(false);
    }
  });
});
