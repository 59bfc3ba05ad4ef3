import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Gateway } from "../../gateway/main.ts";
import { message, TYPE } from "../../postgres/wire/message.ts";
import {
  cancelPacket,
  GSSENC_REQUEST,
  PROTOCOL_3_2,
  requestPacket,
  SSL_REQUEST,
  startupPacket,
} from "../../postgres/wire/startup.ts";
import { random } from "../random.ts";
import { requires } from "../requires.ts";
import { RawClient } from "./raw-client.ts";
import { eventually, refusalOf, Site } from "./site.ts";

const postgres = await requires("postgres");

describe.skipIf(!postgres.available)("bad input at the door", () => {
  let site: Site;
  let gateway: Gateway;

  beforeAll(async () => {
    site = await Site.create(postgres.path);
    gateway = await site.gateway({ loginMs: 400 });
  });
  afterAll(() => site.close());

  test.each([
    ["an HTTP request", Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "08P01"],
    ["a length of zero", Buffer.alloc(8), "08P01"],
    ["an oversized packet", Buffer.from([0, 1, 0, 0, 0, 3, 0, 0]), "08P01"],
    ["no terminator", Buffer.from([0, 0, 0, 12, 0, 3, 0, 0, 117, 115, 101, 114]), "08P01"],
    ["no user", startupPacket([["database", "app"]]), "28000"],
    ["an old protocol", startupPacket([["user", "app"]], 0x0002_0000), "0A000"],
    [
      "a replication connection",
      startupPacket([
        ["user", "app"],
        ["replication", "true"],
      ]),
      "42501",
    ],
    [
      "data behind an SSLRequest",
      Buffer.concat([requestPacket(SSL_REQUEST), startupPacket([["user", "app"]])]),
      "08P01",
    ],
  ])("%s is answered and closed", async (_what, bytes, code) => {
    const client = await RawClient.plain(gateway.port);
    client.send(bytes);
    expect(await client.error()).toMatchObject({ C: code, V: "FATAL" });
    await eventually(() => client.ended);
  });

  test("a slow packet, a slow password and silence all end in time", async () => {
    const slow = await RawClient.plain(gateway.port);
    const packet = startupPacket([
      ["user", "app"],
      ["application_name", "x".repeat(200)],
    ]);
    const drip = (async () => {
      for (const byte of packet) {
        if (slow.ended) return;
        slow.send(Buffer.from([byte]));
        await sleep(20);
      }
    })();
    const mute = await RawClient.plain(gateway.port);
    const half = await RawClient.plain(gateway.port);
    half.send(startupPacket([["user", "app"]]));
    for (const client of [slow, mute, half]) expect((await client.error())?.C).toBe("57014");
    await drip;
    await eventually(() => gateway.counters.connections === 0 && gateway.counters.logins === 0);
  });

  test("garbage in place of a password is a protocol error", async () => {
    for (const bytes of [
      message(TYPE.query, "SELECT 1\0"),
      message(TYPE.password, "nonsense"),
      Buffer.from("p\xff\xff\xff\xff", "latin1"),
    ]) {
      const client = await RawClient.plain(gateway.port);
      client.send(startupPacket([["user", "app"]]));
      await client.until(TYPE.authentication);
      client.send(bytes);
      expect((await client.error())?.C).toBe("08P01");
    }
  });

  test("random bytes neither hang nor break it", async () => {
    const { int } = random(20261121);
    for (let round = 0; round < 100; round++) {
      const client = await RawClient.plain(gateway.port);
      const bytes = Buffer.from(Array.from({ length: 1 + int(60) }, () => int(256)));
      // As often as not with a length that fits, so that more than the first four bytes is looked at.
      if (round % 2 === 0 && bytes.length >= 8) bytes.writeInt32BE(bytes.length, 0);
      if (round % 4 === 0 && bytes.length >= 8) bytes.writeInt32BE(0x0003_0000, 4);
      client.send(bytes);
      client.socket.end();
    }
    await eventually(() => gateway.counters.connections === 0);
    await (await site.connect(gateway)).end();
  });

  test("GSS encryption is declined, and TLS may follow", async () => {
    const client = await RawClient.plain(gateway.port);
    const bytes: number[] = [];
    client.socket.on("data", (chunk: Buffer) => bytes.push(...chunk));
    client.send(requestPacket(GSSENC_REQUEST));
    await eventually(() => bytes.length === 1);
    expect(bytes).toEqual(["N".charCodeAt(0)]);
    client.send(requestPacket(SSL_REQUEST));
    await eventually(() => bytes.length === 2);
    expect(bytes[1]).toBe("S".charCodeAt(0));
    client.socket.destroy();
  });

  test("a newer protocol is negotiated down to 3.2, which has longer keys", async () => {
    const client = await RawClient.plain(gateway.port);
    const keys = await site.keys();
    const settings: [string, string][] = [
      ["user", "app"],
      ["database", "app"],
    ];
    const login = client.logIn(keys, [...settings, ["_pq_.grease", "1"]], 0x0003_270f);
    expect((await login).key.length).toBe(24);
    client.socket.destroy();
    const old = await RawClient.plain(gateway.port);
    expect((await old.logIn(keys, settings)).key.length).toBe(4);
    old.socket.destroy();
    const asked = await RawClient.plain(gateway.port);
    asked.send(startupPacket([...settings, ["_pq_.grease", "1"]], PROTOCOL_3_2));
    const { body } = await asked.until(TYPE.negotiateProtocolVersion);
    expect([body.readInt32BE(0), body.readInt32BE(4), body.toString("latin1", 8)]).toEqual([
      PROTOCOL_3_2,
      1,
      "_pq_.grease\0",
    ]);
    asked.socket.destroy();
  });

  test("a cancel request with an unknown key is closed without a word", async () => {
    const client = await RawClient.plain(gateway.port);
    client.send(cancelPacket(1234, Buffer.from("nope")));
    expect(await client.error()).toBeNull();
    expect(gateway.counters.cancels_unknown_total).toBe(1);
  });

  test("more connections than there may be are told so", async () => {
    const small = await site.gateway({ connectionsMost: 3, loginMs: 400 });
    const held = await Promise.all([1, 2, 3].map(() => RawClient.plain(small.port)));
    await eventually(() => small.counters.connections === 3);
    expect((await refusalOf(site.connect(small))).code).toBe("53300");
    for (const client of held) client.socket.destroy();
    await eventually(() => small.counters.connections === 0);
    await (await site.connect(small)).end();
    await small.close(0);
  });

  test("wrong passwords become slow, right ones do not", async () => {
    const quick = await site.gateway();
    const wrong = () => refusalOf(site.connect(quick, { password: "wrong" }));
    const started = performance.now();
    // In line after the first twenty: the last of them is told five seconds late.
    const all = Array.from({ length: 30 }, wrong);
    await Promise.race(all);
    const right = performance.now();
    await (await site.connect(quick)).end();
    expect(performance.now() - right).toBeLessThan(2_000);
    expect(new Set((await Promise.all(all)).map(({ code }) => code))).toEqual(new Set(["28P01"]));
    expect(performance.now() - started).toBeGreaterThan(2_000);
    expect(quick.counters.logins_slowed_total).toBeGreaterThan(2);
    await quick.close(0);
  });

  test("without a control plane nobody new gets in, and is told to come again", async () => {
    const fresh = await site.gateway();
    site.directory.away = true;
    expect((await refusalOf(site.connect(fresh))).code).toBe("57P03");
    site.directory.away = false;
    await (await site.connect(fresh)).end();
    await fresh.close(0);
  });

  test("nothing secret is logged", () => {
    expect(site.logged.join("\n")).not.toMatch(/battery|SCRAM-SHA-256\$/);
  });
});
