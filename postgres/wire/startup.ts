/** What a client may send first, before any message has a type byte. */
export const SSL_REQUEST = 80877103;
export const GSSENC_REQUEST = 80877104;
export const CANCEL_REQUEST = 80877102;
export const PROTOCOL_3_0 = 0x0003_0000;
export const PROTOCOL_3_2 = 0x0003_0002;

/** PostgreSQL's own limit of a startup packet. */
export const STARTUP_MOST = 10_000;
/** A key of protocol 3.2 is at most this long. */
const CANCEL_KEY_MOST = 256;

export type StartupPacket =
  | { kind: "ssl" }
  | { kind: "gssenc" }
  | { kind: "cancel"; pid: number; key: Buffer }
  | {
      kind: "startup";
      /** What is spoken from here on: the version asked for, or the newest that is known here. */
      protocol: number;
      /** The client asked for something newer, or for protocol options (`_pq_.…`) that are not known here. */
      negotiate: { unknown: string[] } | null;
      user: string;
      database: string;
      /** All other settings, in the client's order. The bytes of a value are kept: each character is one byte. */
      settings: [name: string, value: string][];
    };

/** A packet that does not follow the protocol. `code` is the SQLSTATE to refuse it with. */
export class StartupError extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** Collects one startup packet from pieces of any size. What follows it stays in `rest`. */
export class StartupReader {
  #held: Buffer | null = null;

  /** The first byte, when there is one. */
  get first(): number | undefined {
    return this.#held?.[0];
  }

  /** What was read and belongs to no packet yet. */
  get rest(): Buffer {
    return this.#held ?? EMPTY;
  }

  push(chunk: Buffer): void {
    this.#held = this.#held === null || this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
  }

  /** The packet, once all of it is there; null until then. Refuses a wrong length as soon as that is known. */
  take(): StartupPacket | null {
    const held = this.#held;
    if (held === null || held.length < 4) return null;
    const length = held.readInt32BE(0);
    if (length < 8 || length > STARTUP_MOST) throw new StartupError("08P01", "invalid length of startup packet");
    if (held.length < length) return null;
    this.#held = held.subarray(length);
    return parseStartup(held.subarray(4, length));
  }
}

/** @param packet without its length */
function parseStartup(packet: Buffer): StartupPacket {
  const code = packet.readUInt32BE(0);
  if (code === SSL_REQUEST || code === GSSENC_REQUEST) {
    if (packet.length !== 4) throw new StartupError("08P01", "invalid length of encryption request");
    return { kind: code === SSL_REQUEST ? "ssl" : "gssenc" };
  }
  if (code === CANCEL_REQUEST) {
    if (packet.length <= 8 || packet.length > 8 + CANCEL_KEY_MOST + 1)
      throw new StartupError("08P01", "invalid length of cancel request");
    return { kind: "cancel", pid: packet.readUInt32BE(4), key: Buffer.from(packet.subarray(8)) };
  }
  const [major, minor] = [code >>> 16, code & 0xffff];
  if (major !== 3)
    throw new StartupError("0A000", `unsupported frontend protocol ${major}.${minor}: server supports 3.0 to 3.2`);
  return parseSettings(packet, code);
}

function parseSettings(packet: Buffer, asked: number): StartupPacket {
  const settings: [string, string][] = [];
  const unknown: string[] = [];
  const names = new Map<string, string>();
  let at = 4;
  for (;;) {
    const [name, afterName] = cstring(packet, at);
    at = afterName;
    if (name === "") break;
    const [value, afterValue] = cstring(packet, at);
    at = afterValue;
    if (name === "user" || name === "database") {
      if (names.has(name)) throw new StartupError("08P01", `invalid startup packet: ${name} is given twice`);
      names.set(name, text(value));
    } else if (name.startsWith("_pq_.")) unknown.push(name);
    else settings.push([name, value]);
  }
  if (at !== packet.length)
    throw new StartupError("08P01", "invalid startup packet layout: expected terminator as last byte");
  const user = names.get("user") ?? "";
  if (user === "") throw new StartupError("28000", "no PostgreSQL user name specified in startup packet");
  const protocol = Math.min(asked, PROTOCOL_3_2);
  return {
    kind: "startup",
    protocol,
    negotiate: asked > PROTOCOL_3_2 || unknown.length > 0 ? { unknown } : null,
    user,
    database: names.get("database") || user,
    settings,
  };
}

function cstring(packet: Buffer, at: number): [text: string, next: number] {
  const end = packet.indexOf(0, at);
  if (end < 0) throw new StartupError("08P01", "invalid startup packet layout: expected terminator as last byte");
  return [packet.toString("latin1", at, end), end + 1];
}

const text = (latin1: string): string => Buffer.from(latin1, "latin1").toString("utf8");

/** The packet that opens a session. Values are written byte by character, as `StartupPacket` keeps them. */
export function startupPacket(settings: readonly (readonly [string, string])[], protocol = PROTOCOL_3_0): Buffer {
  const body = Buffer.from(`${settings.map(([name, value]) => `${name}\0${value}\0`).join("")}\0`, "latin1");
  const head = Buffer.alloc(8);
  head.writeInt32BE(8 + body.length, 0);
  head.writeUInt32BE(protocol, 4);
  return Buffer.concat([head, body]);
}

export function cancelPacket(pid: number, key: Uint8Array): Buffer {
  const packet = Buffer.alloc(12 + key.length);
  packet.writeInt32BE(packet.length, 0);
  packet.writeUInt32BE(CANCEL_REQUEST, 4);
  packet.writeUInt32BE(pid, 8);
  packet.set(key, 12);
  return packet;
}

export function requestPacket(code: typeof SSL_REQUEST | typeof GSSENC_REQUEST): Buffer {
  const packet = Buffer.alloc(8);
  packet.writeInt32BE(8, 0);
  packet.writeUInt32BE(code, 4);
  return packet;
}

const EMPTY = Buffer.alloc(0);
