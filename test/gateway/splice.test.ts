// The two directions of a session under every way that bytes can be cut and either side can hold back: real sockets, PostgreSQL's side played.
import { connect, createServer, type Socket } from "node:net";
import { connect as connectTls, TLSSocket } from "node:tls";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { noCounts } from "../../gateway/counters.ts";
import { refusal } from "../../gateway/refusal.ts";
import { Session } from "../../gateway/session.ts";
import { selfSigned } from "../../postgres/self-signed.ts";
import {
  errorResponse,
  MessageReader,
  message,
  noticeResponse,
  parseReport,
  TYPE,
} from "../../postgres/wire/message.ts";
import { eventually } from "./site.ts";

const server = createServer({ allowHalfOpen: true, noDelay: true });
beforeAll(() => new Promise<void>((done) => server.listen(0, "127.0.0.1", done)));
afterAll(() => void server.close());

const { key, certificate: cert } = selfSigned("test", ["localhost"], Date.now());

/** Both ends of one connection. */
async function pair(secure = false): Promise<[here: Socket, there: Socket]> {
  const { port } = server.address() as { port: number };
  const accepted = new Promise<Socket>((done) => server.once("connection", done));
  const there = connect({ port, host: "127.0.0.1", noDelay: true, allowHalfOpen: true });
  const here = await accepted;
  for (const socket of [here, there]) socket.on("error", () => {});
  if (!secure) return [here, there];
  const tls = new TLSSocket(here, { isServer: true, key, cert, ALPNProtocols: ["postgresql"] });
  const tlsThere = connectTls({ socket: there, rejectUnauthorized: false, ALPNProtocols: ["postgresql"] });
  for (const socket of [tls, tlsThere]) socket.on("error", () => {});
  await new Promise((done) => tlsThere.once("secureConnect", done));
  return [tls, tlsThere];
}

async function spliced(secure = false) {
  const [clientHere, client] = await pair(secure);
  const [backendHere, backend] = await pair();
  const seen = { cancels: 0, ended: 0 };
  const counters = noCounts();
  const session = new Session({
    client: clientHere,
    backend: backendHere,
    counters,
    cancel: () => void seen.cancels++,
    log: () => {},
    ended: () => void seen.ended++,
  });
  session.start({ client: Buffer.alloc(0), backend: Buffer.alloc(0) });
  const close = () => {
    for (const socket of [clientHere, client, backendHere, backend]) socket.destroy();
  };
  return { session, client, backend, seen, counters, close };
}

const PIECES_MOST = 150;

/** Sends bytes in pieces of these sizes, over and over, now and then letting the other side run first. */
async function send(socket: Socket, bytes: Buffer, sizes: readonly number[]): Promise<void> {
  const least = Math.ceil(bytes.length / PIECES_MOST);
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = Math.max(sizes[i % sizes.length] as number, i < PIECES_MOST / 2 ? 0 : least * 2);
    socket.write(bytes.subarray(at, at + size));
    at += size;
    if (i % 3 === 2) await new Promise((done) => setImmediate(done));
  }
}

/** Collects what arrives, resting after every so many chunks. */
function collect(socket: Socket, rest: number) {
  const chunks: Buffer[] = [];
  const collected = { length: 0, ended: false, bytes: () => Buffer.concat(chunks) };
  socket.on("data", (chunk: Buffer) => {
    chunks.push(chunk);
    collected.length += chunk.length;
    if (rest > 0 && chunks.length % rest === 0) {
      socket.pause();
      setImmediate(() => socket.resume());
    }
  });
  socket.on("end", () => {
    collected.ended = true;
  });
  return collected;
}

const size = fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 300_000 }));
const sizes = fc.array(fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 10, max: 200_000 })), {
  minLength: 1,
  maxLength: 12,
});
type Shape = readonly [type: number, size: number];
const asked = fc.tuple(fc.constantFrom(TYPE.query, TYPE.parse, TYPE.sync, 0x64), size);
const answered = fc.tuple(fc.constantFrom(0x44, 0x43, 0x54, TYPE.parameterStatus), size);
const whole = (shapes: readonly Shape[]): Buffer =>
  Buffer.concat(
    shapes.map(([type, bytes]) =>
      message(
        type,
        new Uint8Array(bytes).map((_, i) => i % 251),
      ),
    ),
  );
const ready = message(TYPE.readyForQuery, "I");

test.each([
  ["in plaintext", false],
  ["through TLS", true],
])(
  "both directions carry every byte in order, however it is cut and whoever holds back, %s",
  async (_how, secure) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(asked, { maxLength: 12 }),
        fc.array(answered, { maxLength: 12 }),
        sizes,
        sizes,
        fc.nat(4),
        fc.nat(4),
        async (questions, answers, cutsThere, cutsBack, restThere, restBack) => {
          const { session, client, backend, counters, seen, close } = await spliced(secure);
          const [there, back] = [whole(questions), whole(answers)];
          const owed = questions.filter(([type]) => type === TYPE.query || type === TYPE.sync).length;
          const atBackend = collect(backend, restThere);
          const atClient = collect(client, restBack);
          await Promise.all([send(client, there, cutsThere), send(backend, back, cutsBack)]);
          await eventually(() => atBackend.length >= there.length && atClient.length >= back.length);
          expect(session.phase).toBe(owed > 0 ? "active" : "idle");
          await send(backend, Buffer.concat(Array.from({ length: owed }, () => ready)), cutsBack);
          await eventually(() => session.phase === "idle");
          client.end(message(TYPE.terminate));
          await eventually(() => atBackend.ended);
          expect(atBackend.bytes().equals(Buffer.concat([there, message(TYPE.terminate)]))).toBe(true);
          backend.end();
          await eventually(() => atClient.ended && seen.ended === 1);
          expect(atClient.bytes().subarray(0, back.length).equals(back)).toBe(true);
          expect(atClient.length).toBe(back.length + owed * ready.length);
          expect(seen.cancels).toBe(0);
          expect(counters.bytes_from_clients_total).toBe(atBackend.length);
          expect(counters.bytes_to_clients_total).toBe(atClient.length);
          close();
        },
      ),
      { numRuns: 40, seed: 20261121 },
    );
  },
  60_000,
);

test("an end that is ordered at any moment comes between two messages, and nothing after it", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(answered, { minLength: 1, maxLength: 8 }),
      sizes,
      fc.nat({ max: 1_000_000 }),
      fc.boolean(),
      async (answers, cuts, when, gentle) => {
        const { session, client, backend, seen, close } = await spliced();
        const atClient = collect(client, 0);
        collect(backend, 0);
        client.write(message(TYPE.query, "SELECT 1\0"));
        await eventually(() => session.phase === "active");
        const back = Buffer.concat([whole(answers), ready]);
        const at = when % (back.length + 1);
        await send(backend, back.subarray(0, at), cuts);
        await eventually(() => atClient.length >= at);
        session.end(refusal("superseded"), gentle);
        await send(backend, back.subarray(at), cuts);
        await eventually(() => atClient.ended && seen.ended === 1);
        const reader = new MessageReader(1 << 30, atClient.bytes());
        const types: number[] = [];
        let last: Buffer = Buffer.alloc(0);
        for (let next = reader.take(); next !== null; next = reader.take()) {
          types.push(next.type);
          last = next.body;
        }
        expect(reader.rest.length).toBe(0);
        expect(types.at(-1)).toBe(TYPE.errorResponse);
        expect(types.filter((type) => type === TYPE.errorResponse)).toHaveLength(1);
        expect(parseReport(last)).toMatchObject({ C: "57P01", V: "FATAL" });
        // Who is told gently has got the whole answer first.
        if (gentle) expect(atClient.bytes().subarray(0, back.length).equals(back)).toBe(true);
        close();
      },
    ),
    { numRuns: 40, seed: 20261122 },
  );
}, 60_000);

test("a commit that the keepers do not have is not acknowledged, wherever its warning is cut", async () => {
  const tag = message(0x43, "COMMIT\0");
  const warning = message(TYPE.noticeResponse, "SWARNING\0VWARNING\0C01000\0Mcanceling wait\0RSyncRepWaitForLSN\0\0");
  await fc.assert(
    fc.asyncProperty(fc.array(answered, { maxLength: 4 }), sizes, async (before, cuts) => {
      const { client, backend, seen, counters, close } = await spliced();
      const atClient = collect(client, 0);
      client.write(message(TYPE.query, "COMMIT\0"));
      const passes = Buffer.concat([whole(before), warning]);
      await send(backend, Buffer.concat([passes, tag, ready]), cuts);
      await eventually(() => atClient.ended && seen.ended === 1);
      expect(atClient.bytes().equals(Buffer.concat([passes, refusal("not_durable").packet]))).toBe(true);
      expect(counters.commits_in_doubt_total).toBe(1);
      close();
    }),
    { numRuns: 20, seed: 20261123 },
  );
}, 60_000);

test("a backend that is lost: between messages its client is told, in the middle of one it is cut", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(answered, { maxLength: 4 }), fc.nat(100), fc.boolean(), async (answers, part, fatal) => {
      const { client, backend, seen, close } = await spliced();
      const atClient = collect(client, 0);
      const said = fatal
        ? errorResponse({ severity: "FATAL", code: "57P02", message: "a crash" })
        : noticeResponse({ severity: "NOTICE", code: "00000", message: "a word" });
      const half = message(0x44, new Uint8Array(200)).subarray(0, part);
      client.write(message(TYPE.query, "SELECT 1\0"));
      const passed = Buffer.concat([whole(answers), said, half]);
      await new Promise<void>((done) => backend.write(passed, () => done()));
      await eventually(() => atClient.length === passed.length);
      backend.destroy();
      await eventually(() => client.destroyed || atClient.ended);
      await eventually(() => seen.ended === 1);
      const more = atClient.bytes().subarray(passed.length);
      if (fatal || part > 0) expect(more.length).toBe(0);
      else expect(parseReport(more.subarray(5)).C).toMatch(/^0800[67]$/);
      close();
    }),
    { numRuns: 30, seed: 20261124 },
  );
}, 60_000);
