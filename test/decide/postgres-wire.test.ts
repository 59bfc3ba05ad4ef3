import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bridge, credentials, crossBridge } from "../../contract/scram.ts";
import { ClientBoundary, ServerBoundary } from "../../postgres/wire/boundary.ts";
import {
  backendKeyData,
  errorResponse,
  MessageReader,
  message,
  noticeResponse,
  parseReport,
  TYPE,
} from "../../postgres/wire/message.ts";
import { SCRAM, SCRAM_PLUS, ScramClient, ScramError, ScramServer } from "../../postgres/wire/scram.ts";
import {
  cancelPacket,
  GSSENC_REQUEST,
  PROTOCOL_3_0,
  PROTOCOL_3_2,
  requestPacket,
  SSL_REQUEST,
  STARTUP_MOST,
  StartupError,
  type StartupPacket,
  StartupReader,
  startupPacket,
} from "../../postgres/wire/startup.ts";

/** The same bytes, cut anywhere. */
function split(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const at = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  return [0, ...at].map((from, i) => Buffer.from(bytes.subarray(from, at[i] ?? bytes.length)));
}

const cuts = fc.array(fc.nat(), { maxLength: 20 });

describe("the startup packet", () => {
  const read = (chunks: Buffer[]): StartupPacket[] => {
    const reader = new StartupReader();
    const packets: StartupPacket[] = [];
    for (const chunk of chunks) {
      reader.push(chunk);
      for (let packet = reader.take(); packet !== null; packet = reader.take()) packets.push(packet);
    }
    expect(reader.rest.length).toBe(0);
    return packets;
  };
  const value = fc.string({
    unit: fc.integer({ min: 1, max: 255 }).map((code) => String.fromCharCode(code)),
    minLength: 1,
    maxLength: 60,
  });
  const name = value.filter((each) => each !== "user" && each !== "database" && !each.startsWith("_pq_."));

  test("is read the same however its bytes arrive, and after what may come before it", () => {
    fc.assert(
      fc.property(
        value,
        value,
        fc.array(fc.tuple(name, value), { maxLength: 8 }),
        cuts,
        (user, database, settings, at) => {
          const packet = startupPacket([["user", user], ["database", database], ...settings]);
          const before = [
            requestPacket(GSSENC_REQUEST),
            requestPacket(SSL_REQUEST),
            cancelPacket(7, Buffer.from("keys")),
          ];
          const packets = read(split(Buffer.concat([...before, packet]), at));
          const text = (bytes: string) => Buffer.from(bytes, "latin1").toString("utf8");
          expect(packets).toEqual([
            { kind: "gssenc" },
            { kind: "ssl" },
            { kind: "cancel", pid: 7, key: Buffer.from("keys") },
            {
              kind: "startup",
              protocol: PROTOCOL_3_0,
              negotiate: null,
              user: text(user),
              database: text(database),
              settings,
            },
          ]);
        },
      ),
    );
  });

  test("any bytes at all are a packet, an error of the protocol, or too few", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), cuts, (bytes, at) => {
        const reader = new StartupReader();
        try {
          for (const chunk of split(Buffer.from(bytes), at)) {
            reader.push(chunk);
            while (reader.take() !== null);
          }
        } catch (error) {
          expect(error).toBeInstanceOf(StartupError);
        }
      }),
    );
  });

  test("a wrong length is refused with its fourth byte, before the rest is taken", () => {
    for (const length of [0, 7, STARTUP_MOST + 1, -1, 0x47455420 /* "GET " */]) {
      const reader = new StartupReader();
      const head = Buffer.alloc(4);
      head.writeInt32BE(length);
      reader.push(head);
      expect(() => reader.take()).toThrow(StartupError);
    }
  });

  test.each([
    ["no user", startupPacket([["database", "app"]]), "28000"],
    [
      "two users",
      startupPacket([
        ["user", "a"],
        ["user", "b"],
      ]),
      "08P01",
    ],
    ["version 2", startupPacket([["user", "a"]], 0x0002_0000), "0A000"],
    ["version 4", startupPacket([["user", "a"]], 0x0004_0000), "0A000"],
    ["a request with more", Buffer.from([0, 0, 0, 9, 4, 210, 22, 47, 0]), "08P01"],
  ])("%s is refused", (_what, packet, code) => {
    const reader = new StartupReader();
    reader.push(packet);
    expect(() => reader.take()).toThrow(expect.objectContaining({ code }));
  });

  test("a newer version and unknown options are negotiated down", () => {
    const [newer] = read([
      startupPacket(
        [
          ["user", "a"],
          ["_pq_.grease", "1"],
        ],
        0x0003_270f,
      ),
    ]);
    expect(newer).toMatchObject({ protocol: PROTOCOL_3_2, negotiate: { unknown: ["_pq_.grease"] }, database: "a" });
  });
});

describe("messages", () => {
  test("boundaries are found however the bytes arrive, and errors are shown whole", () => {
    const one = fc.oneof(
      fc.uint8Array({ maxLength: 300 }).map((body) => message(0x44, body)),
      fc.constant(noticeResponse({ severity: "NOTICE", code: "00000", message: "well" })),
      fc.constant(errorResponse({ severity: "ERROR", code: "42601", message: "no" })),
      fc.constantFrom("I", "T", "E").map((status) => message(TYPE.readyForQuery, status)),
      fc.constant(message(0x31)),
    );
    fc.assert(
      fc.property(fc.array(one, { minLength: 1, maxLength: 30 }), cuts, (messages, at) => {
        const reports: string[] = [];
        const boundary = new ServerBoundary((type, body) => {
          reports.push(`${String.fromCharCode(type)} ${parseReport(body).M}`);
          return "pass";
        });
        const bytes = Buffer.concat(messages);
        for (const chunk of split(bytes, at)) expect(boundary.follow(chunk)).toBe(chunk.length);
        const kinds = messages.map((each) => each[0]);
        expect(boundary.between).toBe(true);
        expect(boundary.answered).toBe(kinds.filter((kind) => kind === TYPE.readyForQuery).length);
        expect(reports).toEqual(kinds.flatMap((kind) => (kind === 0x4e ? ["N well"] : kind === 0x45 ? ["E no"] : [])));
        const last = messages.findLast((each) => each[0] === TYPE.readyForQuery);
        expect(boundary.status).toBe(last?.[5] ?? 0x49);
        // One byte less, and it is inside a message.
        const partial = new ServerBoundary(() => "pass");
        partial.follow(bytes.subarray(0, -1));
        expect(partial.between).toBe(false);
      }),
    );
  });

  test("nothing passes after the message that said stop", () => {
    const before = message(0x44, "row");
    const notice = noticeResponse({ severity: "WARNING", code: "01000", message: "stop here" });
    const bytes = Buffer.concat([before, notice, message(0x43, "COMMIT\0")]);
    fc.assert(
      fc.property(cuts, (at) => {
        const boundary = new ServerBoundary(() => "stop");
        let passed = 0;
        for (const chunk of split(bytes, at)) {
          const passes = boundary.follow(chunk);
          passed += passes;
          if (passes < chunk.length || passed === before.length + notice.length) break;
        }
        expect(passed).toBe(before.length + notice.length);
      }),
    );
  });

  test("what a client is owed is counted by its Query, Sync and function calls", () => {
    const boundary = new ClientBoundary();
    const parts = [
      message(TYPE.query, "SELECT 1\0"),
      message(TYPE.parse, "x"),
      message(TYPE.sync),
      message(TYPE.terminate),
    ];
    for (const byte of Buffer.concat(parts)) boundary.follow(Buffer.from([byte]));
    expect([boundary.sent, boundary.terminated]).toEqual([2, true]);
  });

  test("a length below its own size loses the thread, and is never read past", () => {
    const boundary = new ServerBoundary(() => "pass");
    boundary.follow(Buffer.from([0x44, 0, 0, 0, 3, 1, 2, 3]));
    expect([boundary.lost, boundary.between]).toEqual([true, false]);
  });

  test("a reader takes no message longer than it may", () => {
    const reader = new MessageReader(100);
    reader.push(message(TYPE.password, Buffer.alloc(97)));
    expect(() => reader.take()).toThrow("invalid message length");
    const fits = new MessageReader(100, backendKeyData(1, Buffer.alloc(4)));
    expect(fits.take()?.body.length).toBe(8);
  });
});

describe("SCRAM", async () => {
  const salt = Uint8Array.from({ length: 16 }, (_, i) => i);
  const iterations = 4096;
  const old = await credentials("v1", "old password", { salt, iterations });
  const now = await credentials("v2", "new password", { salt, iterations });
  const keys = [old, now].map(({ verifier }) => ({
    storedKey: Buffer.from(verifier.stored_key, "base64"),
    serverKey: Buffer.from(verifier.server_key, "base64"),
  }));
  const server = (channelBinding: Buffer | null = null, which = keys) =>
    new ScramServer({ salt: Buffer.from(salt), iterations, keys: which, channelBinding });
  const client = (index: number) =>
    new ScramClient({
      clientKey: Buffer.from([old, now][index]?.clientKey ?? []),
      serverKey: keys[index]?.serverKey ?? Buffer.alloc(0),
    });

  test("the example of RFC 7677", () => {
    const nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const exchange = new ScramServer({
      salt: Buffer.from("W22ZaJ0SNY7soEsUEjb6gQ==", "base64"),
      iterations: 4096,
      keys: [
        {
          storedKey: Buffer.from("WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=", "base64"),
          serverKey: Buffer.from("wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=", "base64"),
        },
      ],
      channelBinding: null,
      nonce,
    });
    expect(exchange.first(SCRAM, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO")).toBe(
      `r=rOprNGfwEbeRWgbNEkqO${nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096`,
    );
    const final = `c=biws,r=rOprNGfwEbeRWgbNEkqO${nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=`;
    expect(exchange.final(final)).toMatchObject({
      ok: true,
      serverFinal: "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    });
  });

  test("either password is right, and gives the ClientKey that logs in elsewhere", () => {
    for (const which of [0, 1]) {
      const [inner, outer] = [server(), client(which)];
      const result = inner.final(outer.final(inner.first(SCRAM, outer.first)));
      expect(result).toMatchObject({ ok: true, which });
      if (!result.ok) return;
      expect(outer.verify(result.serverFinal)).toBe(true);
      expect(result.clientKey).toEqual(Buffer.from([old, now][which]?.clientKey ?? []));
    }
  });

  test("no other proof is right, and no change of a message passes", () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 255 }), fc.boolean(), (at, by, inFirst) => {
        const [inner, outer] = [server(), client(0)];
        const change = (text: string) => {
          const bytes = Buffer.from(text, "latin1");
          const index = at % bytes.length;
          bytes[index] = (bytes[index] as number) ^ by;
          return bytes.toString("latin1");
        };
        try {
          const first = inner.first(SCRAM, inFirst ? change(outer.first) : outer.first);
          const final = outer.final(first);
          const result = inner.final(inFirst ? final : change(final));
          expect(result).toEqual({ ok: false });
        } catch (error) {
          if (!(error instanceof ScramError)) expect((error as Error).message).toBe("malformed SCRAM message");
        }
      }),
    );
  });

  test("any text at all is malformed, and nothing else happens", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 200 }), (text) => {
        expect(() => server().first(SCRAM, text)).toThrow(ScramError);
        const inner = server();
        inner.first(SCRAM, client(0).first);
        expect(() => inner.final(text)).toThrow(ScramError);
      }),
    );
  });

  test("nobody is let in without keys, in an exchange that looks the same", () => {
    const [inner, outer] = [server(null, []), client(0)];
    expect(inner.final(outer.final(inner.first(SCRAM, outer.first)))).toEqual({ ok: false });
  });

  test("channel binding: the right certificate, no downgrade, no type that we did not offer", () => {
    const binding = Buffer.from("the hash of a certificate");
    const bare = "n=,r=abcdef";
    const bound = server(binding);
    expect(bound.mechanisms).toEqual([SCRAM_PLUS, SCRAM]);
    const first = bound.first(SCRAM_PLUS, `p=tls-server-end-point,,${bare}`);
    const nonce = /^r=([^,]+)/.exec(first)?.[1];
    const other = Buffer.concat([Buffer.from("p=tls-server-end-point,,"), Buffer.from("another certificate")]).toString(
      "base64",
    );
    expect(() => bound.final(`c=${other},r=${nonce},p=${Buffer.alloc(32).toString("base64")}`)).toThrow(
      "channel binding check failed",
    );
    expect(() => server(binding).first(SCRAM, `y,,${bare}`)).toThrow("negotiation");
    expect(() => server(binding).first(SCRAM_PLUS, `p=tls-unique,,${bare}`)).toThrow("unsupported");
    expect(() => server(binding).first(SCRAM_PLUS, `n,,${bare}`)).toThrow("malformed");
    expect(() => server().first(SCRAM_PLUS, `p=tls-server-end-point,,${bare}`)).toThrow("invalid SASL");
  });

  test("a bridge leads from one password's ClientKey to the other's, and from no other", async () => {
    const over = await bridge(old.verifier, now);
    expect(await crossBridge(over, old.clientKey)).toEqual(now.clientKey);
    await expect(crossBridge(over, now.clientKey)).rejects.toThrow();
    await expect(crossBridge({ ...over, to: "v3" }, old.clientKey)).rejects.toThrow();
    expect(JSON.stringify(over)).not.toContain(Buffer.from(now.clientKey).toString("base64url"));
  });
});
