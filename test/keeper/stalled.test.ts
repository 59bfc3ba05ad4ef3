// Who sends or is sent to stands still in the middle, and keeps the connection: a host that is paused, a network that is cut. Nobody waits for it.
import { createHash, X509Certificate } from "node:crypto";
import { rmSync } from "node:fs";
import { createServer, type RequestListener, request } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { KeeperClient } from "../../agent/postgres/keeper-client.ts";
import type { KeeperAddress } from "../../contract/writer.ts";
import { type Keeper, runKeeper } from "../../keeper/main.ts";
import { selfSigned } from "../../postgres/self-signed.ts";
import { scratch } from "../scratch.ts";

const SILENT_MS = 400;

async function answering(listener: RequestListener, isPinned: boolean): Promise<KeeperAddress> {
  const { certificate, key } = selfSigned("lamplighter keeper", ["k"], Date.now());
  const server = isPinned ? createSecureServer({ cert: certificate, key }, listener) : createServer(listener);
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const address = { name: "k", url: `${isPinned ? "https" : "http"}://127.0.0.1:${port}`, token: "t" };
  if (!isPinned) return address;
  return { ...address, fingerprint: createHash("sha256").update(new X509Certificate(certificate).raw).digest("hex") };
}

async function read(from: Readable): Promise<string> {
  let text = "";
  for await (const chunk of from) text += chunk;
  return text;
}

describe.each([
  ["by HTTP", false],
  ["by its certificate", true],
])("a keeper that is reached %s and stops in the middle", (_, isPinned) => {
  test("of a base backup, or before it, is given up", async () => {
    const silent = await answering((_request, response) => void response.write("some"), isPinned);
    const mute = await answering(() => {}, isPinned);
    const failure = { code: "unreachable", message: expect.stringContaining("keeper k") };
    const [one, other] = [new KeeperClient(silent, "db_a", SILENT_MS), new KeeperClient(mute, "db_a", SILENT_MS)];
    const at = performance.now();
    await expect(one.base("1").then(read)).rejects.toMatchObject(failure);
    await expect(other.base("1").then(read)).rejects.toMatchObject(failure);
    expect(performance.now() - at).toBeGreaterThan(1.5 * SILENT_MS);
  });

  test("of nothing: what comes slowly, or is taken slowly, comes whole", async () => {
    const parts = ["a".repeat(300_000), "b".repeat(300_000), "c"];
    const keeper = await answering(async (_request, response) => {
      for (const part of parts) {
        await sleep(SILENT_MS / 2);
        response.write(part);
      }
      response.end();
    }, isPinned);
    const from = await new KeeperClient(keeper, "db_a", SILENT_MS).log("000000010000000000000001");
    let text = "";
    for await (const chunk of from) {
      if (text === "") await sleep(2 * SILENT_MS);
      text += chunk;
    }
    expect(text).toBe(parts.join(""));
  });
});

describe("the sender of a new database's first base backup", () => {
  const dataDir = scratch("keeper");
  let keeper: Keeper;
  beforeAll(async () => {
    keeper = await runKeeper({ dataDir, listen: { host: "127.0.0.1", port: 0 } });
  });
  afterAll(async () => {
    await keeper?.close();
    rmSync(dataDir, { recursive: true, force: true });
  });

  const query = (term: number) => ({
    ...{ term, system_identifier: "7", timeline: 1, start_lsn: "0/1000028", end_lsn: "0/1000100" },
    ...{ bytes: 4, postgres_version: "18.0" },
  });

  async function stalling(database: string, term: number) {
    const words = Object.entries(query(term)).map(([name, value]) => [name, String(value)]);
    const url = `${keeper.url}/databases/${database}/seed?${new URLSearchParams(words)}`;
    const sending = request(url, { method: "PUT", headers: { authorization: `Bearer ${keeper.token}` } });
    const over = new Promise((done) => sending.once("close", done));
    sending.on("error", () => {});
    sending.write("some");
    onTestFinished(() => void sending.destroy());
    await sleep(200);
    return { over };
  }

  test("stands still: a later term is promised at once, and begins its own", async () => {
    const kept = new KeeperClient(keeper, "db_stalled");
    await kept.promise(1);
    const { over } = await stalling("db_stalled", 1);
    const at = performance.now();
    expect(await kept.promise(2)).toMatchObject({ promised_term: 2 });
    await over;
    expect(performance.now() - at).toBeLessThan(2_000);
    expect(await kept.seed(query(2), Readable.from([Buffer.from("seed")]))).toMatchObject({ base: { kind: "cold" } });
    expect(await read(await kept.base((await kept.status()).base?.id ?? ""))).toBe("seed");
    // Nothing of what was broken off is left, and nothing can be begun over what is there once a writer has.
    await expect(kept.seed(query(1), Readable.from([Buffer.from("late")]))).rejects.toMatchObject({
      code: "stale_term",
    });
  });

  test("sends it again: the later one counts", async () => {
    const kept = new KeeperClient(keeper, "db_again");
    await kept.promise(1);
    const { over } = await stalling("db_again", 1);
    expect(await kept.seed(query(1), Readable.from([Buffer.from("seed")]))).toMatchObject({ base: { kind: "cold" } });
    await over;
    expect(await read(await kept.base((await kept.status()).base?.id ?? ""))).toBe("seed");
  });
});
