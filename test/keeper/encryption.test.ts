// A writer that others reach over a network: TLS for everybody, with the one certificate that was handed on, and no way in without.
import { rmSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { KeeperClient } from "../../agent/postgres/keeper-client.ts";
import { type Keeper, runKeeper } from "../../keeper/main.ts";
import { Connection } from "../../postgres/connection.ts";
import { selfSigned } from "../../postgres/self-signed.ts";
import { scratch } from "../scratch.ts";
import { client, orderFor, PASSWORD, PostgresHost, until } from "./postgres-host.ts";

/** An address of this machine that is none of the loopback's. */
const address = Object.values(networkInterfaces())
  .flatMap((all) => all ?? [])
  .find(({ family, internal }) => family === "IPv4" && !internal)?.address;

const dataDir = scratch("keeper");
let keeper: Keeper;
let host: PostgresHost;

beforeAll(async () => {
  host = await PostgresHost.make();
  keeper = await runKeeper({ dataDir, listen: { host: "127.0.0.1", port: 0 } });
});
afterAll(async () => {
  await host?.close();
  await keeper?.close();
  rmSync(dataDir, { recursive: true, force: true });
});

const orderAt = async (database: string, term: number) => {
  const order = await orderFor(database, term, [keeper]);
  return { ...order, listen: { ...order.listen, host: address as string } };
};

describe.skipIf(address === undefined)("a writer on an address that others reach", () => {
  test("lets nobody in without TLS; its keeper follows by TLS; the certificate is a new one with each term", async () => {
    const order = await orderAt("db_tls", 1);
    const { certificate } = await host.start(order);
    const { listen, naming } = order;
    const login = { ...listen, user: naming.owner.role, password: PASSWORD, database: naming.name };
    await expect(Connection.open(login)).rejects.toMatchObject({ code: "28000" });
    const sql = await Connection.open({ ...login, certificate });
    expect(await sql.query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")).toEqual([{ ssl: "t" }]);
    await sql.query("CREATE TABLE t (n int)");
    sql.end();
    expect((await new KeeperClient(keeper, "db_tls").status()).following).toMatchObject({ state: "streaming" });

    await host.writers.stop(order);
    const second = await host.start({ ...order, term: 2, served_term: 1 });
    expect(second.certificate).not.toBe(certificate);
    await expect(Connection.open({ ...login, certificate })).rejects.toThrow(/certificate|signature/);
    (await Connection.open({ ...login, certificate: second.certificate })).end();
    await host.writers.stop({ ...order, term: 2 });
  });

  test("another's certificate is not taken by the keeper, and nothing is acknowledged by it", async () => {
    const order = await orderAt("db_mitm", 1);
    await host.start(order);
    const kept = new KeeperClient(keeper, "db_mitm");
    const { certificate } = selfSigned("lamplighter writer", [address as string], Date.now());
    const { listen, replication_password: password } = order;
    await kept.follow({ term: 1, ...listen, user: "lamplighter_keeper", password, certificate, anew: false });
    await until("it is refused", async () =>
      /certificate|signature/.test((await kept.status()).following.reason ?? ""),
    );
    expect((await kept.status()).following.state).toBe("waiting");
  });
});

describe.skipIf(address === undefined)("a keeper on an address that others reach", () => {
  test("has a certificate of its own, which stays; who expects another tells it nothing", async () => {
    const folder = scratch("keeper");
    const options = { dataDir: folder, listen: { host: address as string, port: 0 } };
    const first = await runKeeper(options);
    const { fingerprint } = first;
    expect([first.url.startsWith("https://"), fingerprint?.length]).toEqual([true, 64]);
    const order = await orderFor("db_pinned", 1, [first]);
    await host.start(order);
    const sql = await client(order);
    await sql.query("CREATE TABLE t (n int)");
    sql.end();
    const { base } = await new KeeperClient(first, "db_pinned").status();
    const stream = await new KeeperClient(first, "db_pinned").base(base?.id ?? "");
    let bytes = 0;
    for await (const chunk of stream) bytes += (chunk as Buffer).length;
    expect(bytes).toBe(base?.stored_bytes);
    const other = new KeeperClient({ ...first, fingerprint: "0".repeat(64) }, "db_pinned");
    await expect(other.status()).rejects.toThrow("another certificate");
    const { fingerprint: _, ...unpinned } = first;
    await expect(new KeeperClient(unpinned, "db_pinned").status()).rejects.toThrow(/self.signed/i);
    await host.writers.stop(order);
    await first.close();
    const again = await runKeeper(options);
    expect(again.fingerprint).toBe(fingerprint);
    await again.close();
    rmSync(folder, { recursive: true, force: true });
  });
});

test("one on a loopback address is reached without", async () => {
  const order = await orderFor("db_plain", 1, [keeper]);
  expect((await host.start(order)).certificate).toBeNull();
  (await client(order)).end();
});
