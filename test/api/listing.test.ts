import { env } from "cloudflare:workers";
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { newId } from "../../contract/id.ts";
import type { Slice } from "../../objects/index/list.ts";
import { ALL_NAMESPACE_SHARDS, shardOf } from "../../objects/projection.ts";
import { merge, visibleNamespaces } from "../../src/listing.ts";
import { freeze, fresh, makeToken, NOW, request } from "./client.ts";

beforeAll(freeze);
beforeEach(() => void vi.setSystemTime(NOW));
afterAll(() => void vi.useRealTimers());

describe("merging shards", () => {
  it("gives the pages that one list would give: 500 random cases", async () => {
    for (let round = 0; round < 500; round++) {
      const int = (below: number) => Math.floor(Math.random() * below);
      const shards = Array.from({ length: 1 + int(9) }, (_, i) => `s${i}`);
      const skew = int(3);
      const held = new Map<string, string[]>(shards.map((shard) => [shard, []]));
      const keys = Array.from({ length: int(200) }, (_, i) => String(i).padStart(5, "0"));
      for (const key of keys)
        held
          .get(shards[skew === 0 ? 0 : int(skew === 1 ? Math.min(2, shards.length) : shards.length)] as string)
          ?.push(key);
      const limit = 1 + int(60);
      let asked = 0;
      const ask = async (shard: string, before: string | null, count: number): Promise<Slice> => {
        asked++;
        const fits = (held.get(shard) ?? []).filter((key) => before === null || key < before).reverse();
        return {
          keys: fits.slice(0, count),
          bodies: fits.slice(0, count).map((key) => `b${key}`),
          more: fits.length > count,
        };
      };
      const all: string[] = [];
      let pages = 0;
      for (let cursor: string | null = null; ; ) {
        const page = await merge(shards, limit, cursor, ask);
        expect(page.bodies.length).toBeLessThanOrEqual(limit);
        all.push(...page.bodies);
        pages++;
        if (page.next === null) break;
        expect(page.bodies).toHaveLength(limit);
        cursor = page.next;
      }
      expect(all).toEqual([...keys].reverse().map((key) => `b${key}`));
      expect(pages).toBe(Math.max(1, Math.ceil(keys.length / limit)));
      expect(asked).toBeLessThanOrEqual(pages * shards.length * 3);
    }
  });

  it("names only what the token may see", () => {
    expect(visibleNamespaces([], [])).toEqual([]);
    expect(visibleNamespaces(["a"], [])).toEqual(["a"]);
    expect(visibleNamespaces([], ["a", "b"])).toEqual(["a", "b"]);
    expect(visibleNamespaces(["b", "c"], ["a", "b"])).toEqual(["b"]);
    expect(visibleNamespaces(["c"], ["a", "b"])).toBeNull();
  });
});

describe("GET /deployments", () => {
  type Row = { id: string; namespace: string; status: string; kind: string; labels: Record<string, string> };
  const spaces = Array.from({ length: 12 }, (_, i) => `${fresh("s")}-${i}`);
  const rows: Row[] = [];

  beforeAll(async () => {
    const pick = <T>(items: readonly T[]): T => items[Math.floor(Math.random() * items.length)] as T;
    for (let i = 0; i < 150; i++) {
      const one: Row = {
        id: newId("deployment", NOW + i),
        namespace: pick(spaces),
        status: pick(["running", "failed", "deleted"]),
        kind: pick(["worker", "job"]),
        labels: pick<Record<string, string>>([{}, { tier: "front" }, { tier: "front", env: "prod" }, { env: "a=b&c" }]),
      };
      rows.unshift(one);
      const { kind: type, ...rest } = one;
      await env.INDEX.getByName(shardOf(one.namespace)).project({
        row: { ...rest, kind: "deployment", name: "x", type, passing: false, version: 1, body: JSON.stringify(one) },
        audits: [],
      });
    }
  });

  const pages = async (query: string, token?: string): Promise<Row[]> => {
    const all: Row[] = [];
    for (let path: string | undefined = `/v1/deployments?${query}`; path !== undefined; ) {
      const page: Awaited<ReturnType<typeof request<Row[]>>> = await request<Row[]>(
        "GET",
        path,
        token === undefined ? {} : { token },
      );
      expect(page.status).toBe(200);
      all.push(...page.body);
      path = /<([^>]+)>; rel="next"/.exec(page.headers.get("link") ?? "")?.[1];
      if (path !== undefined) expect(path.startsWith("/v1/deployments?")).toBe(true);
    }
    return all;
  };
  const mine = spaces.map((space) => `namespace[]=${space}`).join("&");

  it("pages through all of them, over all shards, newest first", async () => {
    expect(new Set(spaces.map(shardOf)).size).toBeGreaterThan(2);
    expect(ALL_NAMESPACE_SHARDS.length).toBe(8);
    expect(await pages(`${mine}&limit=7`)).toEqual(rows);
    const everything = await pages("limit=50");
    expect(everything.filter(({ namespace }) => spaces.includes(namespace))).toEqual(rows);
    expect(everything.map(({ id }) => id)).toEqual(
      everything
        .map(({ id }) => id)
        .sort()
        .reverse(),
    );
  });

  it("filters by every spelling, and keeps the filter from page to page", async () => {
    const [a, b] = spaces as [string, string];
    const expectRows = async (query: string, fits: (one: Row) => boolean) =>
      expect(await pages(`${query}&limit=3`)).toEqual(rows.filter(fits));
    await expectRows(`namespace=${a}`, ({ namespace }) => namespace === a);
    await expectRows(`namespace=${a}&namespace[]=${b}`, ({ namespace }) => namespace === a || namespace === b);
    await expectRows(`${mine}&status=failed&status=deleted`, ({ status }) => status !== "running");
    await expectRows(`${mine}&kind[]=job`, ({ kind }) => kind === "job");
    await expectRows(`${mine}&label=tier`, ({ labels }) => "tier" in labels);
    await expectRows(
      `${mine}&label=tier%3Dfront&label[]=env%3Dprod`,
      ({ labels }) => labels.tier === "front" && labels.env === "prod",
    );
    await expectRows(`${mine}&label=${encodeURIComponent("env=a=b&c")}`, ({ labels }) => labels.env === "a=b&c");
    await expectRows(
      `${mine}&status=running&kind=worker&label=env`,
      (one) => one.status === "running" && one.kind === "worker" && "env" in one.labels,
    );
    await expectRows(`${mine}&status=completed`, () => false);
  });

  it("shows a token only its namespaces", async () => {
    const [a, b, c] = spaces as [string, string, string];
    const { token } = await makeToken(["deployments:read"], { namespaces: [a, c] });
    expect(await pages("limit=4", token)).toEqual(rows.filter(({ namespace }) => namespace === a || namespace === c));
    expect(await pages(`namespace=${b}&namespace=${c}`, token)).toEqual(
      rows.filter(({ namespace }) => namespace === c),
    );
    expect(await pages(`namespace=${b}`, token)).toEqual([]);
  });

  it("is bounded", async () => {
    for (const query of [
      "limit=0",
      "limit=1001",
      "limit=x",
      "cursor=dep_1",
      "status=up",
      "kind=cron",
      `${"label=a&".repeat(101)}`,
    ]) {
      expect((await request("GET", `/deployments?${query}`)).status, query).toBe(400);
    }
  });
});
