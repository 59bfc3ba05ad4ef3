import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { freeze, fresh, makeToken, NOW, request, sleeper } from "./client.ts";

beforeEach(freeze);
afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

async function deployment(namespace = fresh("ns")): Promise<string> {
  const made = await request<{ id: string }>("POST", "/deployments", { body: sleeper({ namespace }) });
  expect(made.status).toBe(201);
  return made.body.id;
}

const ask = (scope: string, token?: string) =>
  request<{ ticket: string; expires_in: number }>("POST", "/auth/stream-ticket", {
    body: { scope },
    ...(token === undefined ? {} : { token }),
  });
const open = (path: string, headers: Record<string, string> = {}) => request("GET", path, { token: null, headers });

describe("a stream ticket", () => {
  it("stands for a token on the one path that it is for, for half a minute", async () => {
    const [id, other] = [await deployment(), await deployment()];
    const viewer = (await makeToken(["deployments:read"])).token;
    const made = await ask(`deployment:logs:${id}`, viewer);
    expect([made.status, made.body.expires_in]).toEqual([200, 30]);
    const { ticket } = made.body;
    expect(ticket).toMatch(/^tk_stream_[0-9a-z]{48}$/);
    const status = async (path: string) => (await open(path)).status;
    expect(await status(`/deployments/${id}/logs?ticket=${ticket}`)).toBe(200);
    expect(await status(`/v1/deployments/${id}/logs?tail=1&ticket=${ticket}`)).toBe(200);
    for (const path of [
      `/deployments/${other}/logs`,
      `/deployments/${id}/events`,
      `/deployments/${id}`,
      "/deployments",
    ])
      expect(await status(`${path}?ticket=${ticket}`), path).toBe(401);
    const events = (await ask(`deployment:events:${id}`)).body.ticket;
    expect(await status(`/deployments/${id}/events?ticket=${events}`)).toBe(200);
    expect(await status(`/deployments/${id}/logs?ticket=${events}`)).toBe(401);
    vi.setSystemTime(NOW + 29_999);
    expect(await status(`/deployments/${id}/logs?ticket=${ticket}`)).toBe(200);
    vi.setSystemTime(NOW + 30_000);
    expect(await status(`/deployments/${id}/logs?ticket=${ticket}`)).toBe(401);
  });

  it("is worth nothing when it was made up or changed", async () => {
    const id = await deployment();
    const { ticket } = (await ask(`deployment:logs:${id}`)).body;
    const later = ticket.replace(/^tk_stream_.{10}/, `tk_stream_${(NOW + 3_600_000).toString(32).padStart(10, "0")}`);
    const turned = ticket.slice(0, -1) + (ticket.endsWith("0") ? "1" : "0");
    for (const forged of [later, turned, `tk_stream_${"0".repeat(48)}`, `${ticket}0`, "", "x"])
      expect((await open(`/deployments/${id}/logs?ticket=${forged}`)).status, forged).toBe(401);
  });

  it("yields to a Bearer header, be it good or bad", async () => {
    const id = await deployment();
    const { ticket } = (await ask(`deployment:logs:${id}`)).body;
    const path = `/deployments/${id}/logs?ticket=${ticket}`;
    expect((await open(path, { authorization: "Bearer nonsense" })).status).toBe(401);
    const unable = await makeToken(["hosts:read"]);
    expect((await open(path, { authorization: `Bearer ${unable.token}` })).status).toBe(403);
  });

  it("is made only for what the caller may read", async () => {
    const mine = fresh("mine");
    const [id, other] = [await deployment(mine), await deployment()];
    const bound = (await makeToken(["deployments:read"], { namespaces: [mine] })).token;
    expect((await ask(`deployment:logs:${id}`, bound)).status).toBe(200);
    expect((await ask(`deployment:logs:${other}`, bound)).status).toBe(404);
    expect((await ask("deployment:logs:nothing")).status).toBe(404);
    expect((await ask(`deployment:logs:${id}`, (await makeToken(["hosts:read"])).token)).status).toBe(403);
    for (const scope of ["", "logs", `deployment:exec:${id}`, `deployment:logs:`]) {
      const refused = await ask(scope);
      expect([refused.status, (refused.body as { error?: string }).error], scope).toEqual([422, "scope is required"]);
    }
  });

  it("is not in the log when something goes wrong", async () => {
    const id = await deployment();
    const { ticket } = (await ask(`deployment:logs:${id}`)).body;
    const logged: string[] = [];
    for (const level of ["error", "warn", "log"] as const)
      vi.spyOn(console, level).mockImplementation((...all) => void logged.push(all.join(" ")));
    await open(`/deployments/${id}/logs?ticket=${ticket}&tail=x`);
    await open(`/nothing?ticket=${ticket}`);
    expect(logged.join("\n")).not.toContain(ticket);
  });
});
