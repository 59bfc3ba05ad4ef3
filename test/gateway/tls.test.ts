import { execFile, execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Certificate, endPoint } from "../../gateway/certificate.ts";
import { matchesServerName } from "../../gateway/encryption.ts";
import type { Gateway } from "../../gateway/main.ts";
import { selfSigned } from "../../postgres/self-signed.ts";
import { requires } from "../requires.ts";
import { RawClient } from "./raw-client.ts";
import { PASSWORD, refusalOf, Site } from "./site.ts";

const postgres = await requires("postgres");

test("server names: exactly, or one label for a star", () => {
  expect(matchesServerName("DB.example.com", ["db.example.com"])).toBe(true);
  expect(matchesServerName("a.example.com", ["*.example.com"])).toBe(true);
  expect(matchesServerName("a.b.example.com", ["*.example.com"])).toBe(false);
  expect(matchesServerName("example.com", ["*.example.com"])).toBe(false);
});

describe.skipIf(!postgres.available)("TLS", () => {
  let site: Site;
  let gateway: Gateway;
  beforeAll(async () => {
    site = await Site.create(postgres.path);
    gateway = await site.gateway({ tlsRequired: true });
  });
  afterAll(() => site.close());

  const psql = async (settings: string, { port } = gateway) => {
    const where = `host=localhost hostaddr=127.0.0.1 port=${port} user=app dbname=app ${settings}`;
    const env = { PATH: process.env.PATH, PGPASSWORD: PASSWORD, HOME: site.folder };
    const { stdout } = await promisify(execFile)("psql", [where, "-XAtc", "SELECT 'served'"], { env });
    return stdout.trim();
  };

  test("psql: require, verify-ca, verify-full, and with channel binding", async () => {
    const root = `sslrootcert=${site.certificate.certificate}`;
    for (const settings of ["sslmode=require", `sslmode=verify-ca ${root}`, `sslmode=verify-full ${root}`])
      expect(await psql(`${settings} channel_binding=require`)).toBe("served");
    expect(await psql("sslmode=require channel_binding=disable")).toBe("served");
    expect(await psql("sslmode=require ssl_min_protocol_version=TLSv1.2 ssl_max_protocol_version=TLSv1.2")).toBe(
      "served",
    );
  });

  test("plaintext is 28000 where TLS is required, before any password; elsewhere it is served", async () => {
    await expect(psql("sslmode=disable")).rejects.toThrow("encrypted connections only");
    expect(await refusalOf(site.connect(gateway))).toMatchObject({ code: "28000" });
    const plain = await site.gateway({ certificate: null });
    expect(await psql("sslmode=disable", plain)).toBe("served");
    expect(await psql("sslmode=prefer", plain)).toBe("served");
    await expect(psql("sslmode=require", plain)).rejects.toThrow("does not support SSL");
    await plain.close(0);
  });

  test("a certificate for another name, and another certificate, are noticed by the client", async () => {
    const other = join(site.folder, "other.crt");
    writeFileSync(other, selfSigned("test", ["localhost"], Date.now()).certificate);
    await expect(psql(`sslmode=verify-full sslrootcert=${other}`)).rejects.toThrow("certificate verify failed");
    const where = `host=elsewhere.example hostaddr=127.0.0.1 port=${gateway.port} user=app dbname=app sslmode=verify-full sslrootcert=${site.certificate.certificate}`;
    await expect(
      promisify(execFile)("psql", [where, "-c", "SELECT 1"], { env: { PATH: process.env.PATH, PGPASSWORD: PASSWORD } }),
    ).rejects.toThrow("does not match host name");
  });

  test("direct TLS needs ALPN; asked-for TLS does not", async () => {
    const keys = await site.keys();
    const direct = await RawClient.tls(gateway.port, { ALPNProtocols: ["postgresql"] });
    await direct.logIn(keys);
    direct.socket.destroy();
    const client = await site.connect(gateway, {
      ssl: { rejectUnauthorized: false },
      sslnegotiation: "direct",
    } as object);
    await client.end();
    const nameless = await RawClient.tls(gateway.port, {}).catch(() => null);
    if (nameless !== null) expect(await nameless.error()).toBeNull();
    await expect(RawClient.tls(gateway.port, { ALPNProtocols: ["http/1.1"] })).rejects.toThrow();
    const asked = await RawClient.tls(gateway.port, {}, true);
    await asked.logIn(keys);
    asked.socket.destroy();
  });

  test("an SNI that is not of the database is refused after the password", async () => {
    site.database.lookup = { server_names: ["app.db.example.com"] };
    const fresh = await site.gateway({ tlsRequired: true });
    const named = (servername: string) => site.connect(fresh, { ssl: { rejectUnauthorized: false, servername } });
    expect((await refusalOf(named("other.db.example.com"))).code).toBe("28000");
    await (await named("app.db.example.com")).end();
    await fresh.close(0);
    site.database.lookup = {};
  });

  test("a renewed certificate is used without a restart, and a broken one is not", () => {
    const folder = site.folder;
    const files = { certificate: join(folder, "turn.crt"), key: join(folder, "turn.key") };
    copyFileSync(site.certificate.certificate, files.certificate);
    copyFileSync(site.certificate.key, files.key);
    const said: string[] = [];
    const certificate = new Certificate(files, (line) => said.push(line));
    const before = certificate.channelBinding;
    writeFileSync(files.certificate, "not a certificate");
    certificate.refresh();
    expect(certificate.channelBinding).toEqual(before);
    const renewed = selfSigned("test", ["localhost"], Date.now());
    writeFileSync(files.key, renewed.key);
    writeFileSync(files.certificate, renewed.certificate);
    certificate.refresh();
    expect(certificate.channelBinding).not.toEqual(before);
    expect(said.map((line) => /cannot be used|is used/.exec(line)?.[0])).toEqual(["cannot be used", "is used"]);
    certificate.close();
  });

  test("the end point's hash is that of OpenSSL's fingerprint", () => {
    const pem = readFileSync(site.certificate.certificate);
    const shown = execFileSync(
      "openssl",
      ["x509", "-noout", "-fingerprint", "-sha256", "-in", site.certificate.certificate],
      { encoding: "utf8" },
    );
    const fingerprint = shown.split("=")[1]?.trim().replaceAll(":", "").toLowerCase();
    expect(endPoint(new X509Certificate(pem))?.toString("hex")).toBe(fingerprint);
  });

  test("a key that everybody may read is not made", async () => {
    const { statSync } = await import("node:fs");
    expect(statSync(site.certificate.key).mode & 0o077).toBe(0);
  });
});
