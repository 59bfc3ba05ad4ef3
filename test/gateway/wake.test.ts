import pg from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Gateway } from "../../gateway/main.ts";
import { requires } from "../requires.ts";
import { PASSWORD, Site } from "./site.ts";

const postgres = await requires("postgres");

describe.skipIf(!postgres.available)("waking and sleeping", () => {
  let site: Site;
  let gateway: Gateway;

  beforeAll(async () => {
    site = await Site.create(postgres.path);
    gateway = await site.gateway();
  });
  afterAll(() => site.close());

  const connect = async (more: pg.ClientConfig = {}, port = gateway.port) => {
    const client = new pg.Client({
      host: "127.0.0.1",
      port,
      user: "app",
      password: PASSWORD,
      database: "app",
      ...more,
    });
    client.on("error", () => {});
    await client.connect();
    return client;
  };

  test("the first connection wakes it, and its query is answered", async () => {
    expect(site.database.status).toBe("stopped");
    const client = await connect();
    expect((await client.query("SELECT 1 AS one")).rows).toEqual([{ one: 1 }]);
    await client.end();
    expect(site.database.starts).toBe(1);
  });
});
