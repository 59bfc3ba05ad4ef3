import { env } from "cloudflare:workers";
import { expect, it } from "vitest";
import type { IndexRow } from "../../objects/projection.ts";

const row = (id: string, rest: Partial<IndexRow> = {}): IndexRow => ({
  kind: "deployment",
  id,
  namespace: "shop",
  name: id,
  status: "running",
  type: "worker",
  labels: {},
  passing: false,
  version: 1,
  body: "{}",
  ...rest,
});

it("sums what objects count, takes over what changed whatever its version, and forgets what is gone", async () => {
  const index = env.INDEX.getByName(`index-${crypto.randomUUID()}`);
  const tallies = async () =>
    (await index.census()).tallies.map(({ kind, word, count }) => `${kind} ${word} ${count}`).sort();
  await index.project({ row: row("dep_a"), audits: [], tally: { success: 3, failed: 1 } });
  await index.project({ row: row("dep_b"), audits: [], tally: { success: 2, timeout: 0 } });
  expect(await tallies()).toEqual(["deployment failed 1", "deployment success 5"]);
  await index.project({ row: row("dep_a"), audits: [], tally: { success: 4 } });
  await index.project({ row: row("dep_b", { version: 2 }), audits: [] });
  expect(await tallies()).toEqual(["deployment success 6"]);
  await index.project({ row: row("dep_a", { version: 2, body: null }), audits: [] });
  expect(await tallies()).toEqual(["deployment success 2"]);
});

it("what a database counted stays in the sums when it is gone, once", async () => {
  const index = env.INDEX.getByName(`index-${crypto.randomUUID()}`);
  const tallies = async () => (await index.census()).tallies.map(({ word, count }) => `${word} ${count}`);
  const database = (id: string, rest: Partial<IndexRow> = {}) => row(id, { kind: "database", ...rest });
  await index.project({ row: database("db_a"), audits: [], tally: { starts: 3 } });
  await index.project({ row: database("db_b"), audits: [], tally: { starts: 2 } });
  for (let again = 0; again < 2; again++)
    await index.project({ row: database("db_a", { version: 2, body: null }), audits: [] });
  expect(await tallies()).toEqual(["starts 5"]);
  await index.project({ row: database("db_b", { version: 2 }), audits: [], tally: { starts: 4 } });
  await index.project({ row: database("db_b", { version: 3, body: null }), audits: [] });
  expect(await tallies()).toEqual(["starts 7"]);
});
