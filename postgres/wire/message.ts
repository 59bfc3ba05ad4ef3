/** The type bytes that are looked at here. */
export const TYPE = {
  authentication: 0x52, // R
  parameterStatus: 0x53, // S, by the server
  backendKeyData: 0x4b, // K
  readyForQuery: 0x5a, // Z
  commandComplete: 0x43, // C
  errorResponse: 0x45, // E
  noticeResponse: 0x4e, // N
  negotiateProtocolVersion: 0x76, // v
  password: 0x70, // p
  query: 0x51, // Q
  sync: 0x53, // S, by the client
  functionCall: 0x46, // F
  parse: 0x50, // P
  terminate: 0x58, // X
} as const;

/** Kinds of authentication request. */
export const AUTH = { ok: 0, sasl: 10, saslContinue: 11, saslFinal: 12 } as const;

export type Message = { type: number; body: Buffer };

export class ProtocolViolation extends Error {}

/** Cuts a stream into messages, each a type byte, a length and a body. For the phases in which messages are few and small. */
export class MessageReader {
  readonly #most: number;
  #held: Buffer = EMPTY;

  /** @param most the longest message that is taken, its length field included */
  constructor(most: number, held: Buffer = EMPTY) {
    this.#most = most;
    this.#held = held;
  }

  /** What was read and belongs to no whole message yet. */
  get rest(): Buffer {
    return this.#held;
  }

  push(chunk: Buffer): void {
    this.#held = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
  }

  take(): Message | null {
    if (this.#held.length < 5) return null;
    const length = this.#held.readInt32BE(1);
    if (length < 4 || length > this.#most) throw new ProtocolViolation("invalid message length");
    if (this.#held.length < 1 + length) return null;
    const message = { type: this.#held[0] as number, body: this.#held.subarray(5, 1 + length) };
    this.#held = this.#held.subarray(1 + length);
    return message;
  }
}

export function message(type: number, ...parts: (Uint8Array | string)[]): Buffer {
  const body = parts.map((part) => (typeof part === "string" ? Buffer.from(part, "utf8") : part));
  const head = Buffer.alloc(5);
  head[0] = type;
  head.writeInt32BE(4 + body.reduce((sum, { length }) => sum + length, 0), 1);
  return Buffer.concat([head, ...body]);
}

export function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value | 0, 0);
  return bytes;
}

export const authentication = (kind: number, ...data: (Uint8Array | string)[]): Buffer =>
  message(TYPE.authentication, int32(kind), ...data);

export const authenticationSasl = (mechanisms: readonly string[]): Buffer =>
  authentication(AUTH.sasl, `${mechanisms.map((each) => `${each}\0`).join("")}\0`);

export const backendKeyData = (pid: number, key: Uint8Array): Buffer => message(TYPE.backendKeyData, int32(pid), key);

export const negotiateProtocolVersion = (newest: number, unknown: readonly string[]): Buffer =>
  message(
    TYPE.negotiateProtocolVersion,
    int32(newest),
    int32(unknown.length),
    Buffer.from(unknown.map((name) => `${name}\0`).join(""), "latin1"),
  );

export type Report = { severity: string; code: string; message: string; detail?: string; hint?: string };

export const errorResponse = (report: Report): Buffer => message(TYPE.errorResponse, reportFields(report));
export const noticeResponse = (report: Report): Buffer => message(TYPE.noticeResponse, reportFields(report));

function reportFields({ severity, code, message: what, detail, hint }: Report): string {
  const field = (name: string, value: string | undefined) =>
    value === undefined ? "" : `${name}${value.replaceAll("\0", "")}\0`;
  return `${field("S", severity)}${field("V", severity)}${field("C", code)}${field("M", what)}${field("D", detail)}${field("H", hint)}\0`;
}

/** The fields of an error or a notice, by their letter. */
export function parseReport(body: Buffer): Record<string, string> {
  const fields: Record<string, string> = {};
  for (let at = 0; at < body.length && body[at] !== 0; ) {
    const end = body.indexOf(0, at + 1);
    if (end < 0) break;
    fields[String.fromCharCode(body[at] as number)] = body.toString("utf8", at + 1, end);
    at = end + 1;
  }
  return fields;
}

const EMPTY = Buffer.alloc(0);
