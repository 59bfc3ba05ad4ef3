// Answers are written one over the other once they are sent: none of them may change while it waits for a reader that is slow, or gone.
import type { AddressInfo } from "node:net";
import { connect, type Socket } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { EngineKeys } from "../../contract/engine.ts";
import { Keys, keyText } from "../../engine/serve/keys.ts";
import { EngineServer, type Serving } from "../../engine/serve/server.ts";
import { random } from "../random.ts";
import { type Note, notesEngine } from "./notes.ts";

const SECRET = "the secret of the keys";
/** From a few bytes to more than the kernel takes at once for a reader that does not read. */
const LENGTHS = [1, 30, 900, 17_000, 70_000, 250_000, 300_000, 6_000_000];
const notes: Note[] = LENGTHS.flatMap((length, i) =>
  [0, 1, 2, 3].map((k) => ({ id: 1 + i * 4 + k, owner: k, text: String.fromCharCode(97 + i + k).repeat(length) })),
);
const SMALL = notes.filter(({ text }) => text.length < 100_000);

let server: EngineServer;
let port: number;

beforeAll(async () => {
  const { engine, storeOf } = await notesEngine();
  server = new EngineServer({
    ...{ shape: engine.shape, openapi: {}, build: "test", adminToken: "admin", locate: () => {} },
    replica: {
      ...{ state: "serving", store: storeOf(notes), snapshot: 1, position: { text: "here" }, ageAt: () => 0 },
      standing: { state: "live" },
    } as unknown as Serving["replica"],
    source: { mode: "stream" } as unknown as Serving["source"],
    keys: new Keys(engine.shape, EngineKeys.parse({ secret: SECRET, keys: [{ id: "all" }] })),
    memory: {} as Serving["memory"],
  });
  await new Promise<void>((listening) => server.http.listen(0, "127.0.0.1", listening));
  ({ port } = server.http.address() as AddressInfo);
});
afterAll(() => {
  server.http.closeAllConnections();
  return new Promise((closed) => server.http.close(closed));
});

const requestFor = ({ id }: Note): string => {
  const query = `notes(id = ${id}) { id text }`;
  const head = `POST /query HTTP/1.1\r\nHost: engine\r\nAuthorization: Bearer ${keyText(SECRET, "all")}`;
  return `${head}\r\nContent-Length: ${query.length}\r\n\r\n${query}`;
};

async function opened(): Promise<Socket> {
  const socket = connect({ port, host: "127.0.0.1" });
  await new Promise<void>((done) => socket.once("connect", done));
  return socket;
}

/** The bodies of so many answers. */
async function answers(socket: Socket, count: number): Promise<string[]> {
  const bodies: string[] = [];
  let parts: Buffer[] = [];
  let [here, wanted] = [0, 0];
  for await (const part of socket as AsyncIterable<Buffer>) {
    parts.push(part);
    here += part.length;
    if (here < wanted) continue;
    let bytes = Buffer.concat(parts);
    for (wanted = 0; wanted === 0; ) {
      const end = bytes.indexOf("\r\n\r\n") + 4;
      const length = Number(/content-length: (\d+)/i.exec(bytes.toString("latin1", 0, Math.max(0, end)))?.[1]);
      if (end < 4 || bytes.length < end + length) wanted = end < 4 ? 1 : end + length;
      else {
        bodies.push(bytes.toString("latin1", end, end + length));
        bytes = bytes.subarray(end + length);
      }
    }
    parts = [bytes];
    here = bytes.length;
    if (bodies.length === count) break;
  }
  return bodies;
}

const bodyOf = ({ id, text }: Note): string => JSON.stringify([{ id, text }]);
/** What differs is said without its text. */
const differences = (bodies: string[], asked: Note[]): number[] =>
  asked.flatMap((note, i) => (bodies[i] === bodyOf(note) ? [] : [note.id]));

test("answers of all lengths, one after the other and several at once on each connection", async () => {
  const pick = random(3);
  const one = async () => {
    const socket = await opened();
    const asked = Array.from({ length: 60 }, () => pick.pick(pick.chance(0.8) ? SMALL : notes.slice(0, -4)));
    socket.write(asked.map(requestFor).join(""));
    expect(differences(await answers(socket, asked.length), asked)).toEqual([]);
  };
  await Promise.all(Array.from({ length: 6 }, one));
});

test("answers that wait for their reader stay as they are while others are answered", async () => {
  const slow = await Promise.all(
    notes.slice(-6).map(async (note) => {
      const socket = await opened();
      socket.pause();
      // Small ones wait behind a long one.
      const asked = [note, ...SMALL.slice(0, 6), note];
      socket.write(asked.map(requestFor).join(""));
      return { socket, asked };
    }),
  );
  const quick = await opened();
  const asked = Array.from({ length: 300 }, (_, i) => SMALL[(i * 7) % SMALL.length] as Note);
  quick.write(asked.map(requestFor).join(""));
  expect(differences(await answers(quick, asked.length), asked)).toEqual([]);
  for (const { socket, asked } of slow) expect(differences(await answers(socket, asked.length), asked)).toEqual([]);
});

test("callers that go before their answer harm nobody else's", async () => {
  const pick = random(5);
  for (let round = 0; round < 30; round++) {
    const [gone, stays] = [await opened(), await opened()];
    gone.on("error", () => {});
    gone.write([...notes.slice(-2), ...SMALL.slice(0, 4)].map(requestFor).join(""));
    for (let i = pick.int(6); i > 0; i--) await turn();
    gone.destroy();
    const asked = Array.from({ length: 12 }, () => pick.pick(SMALL));
    stays.write(asked.map(requestFor).join(""));
    expect(differences(await answers(stays, asked.length), asked)).toEqual([]);
  }
});
