/** One message from a server: its type as a letter, and what follows the length. */
export type Message = { type: string; body: Buffer };

/** No server sends longer ones to what is asked here; a length beyond it means that the peer does not speak this protocol. */
const MOST_BYTES = 64 * 1024 * 1024;

/** Cuts a stream of bytes into messages. A message's body is a view of what was received wherever it came in one piece. */
export class MessageReader {
  #held: Buffer[] = [];
  #bytes = 0;

  push(chunk: Buffer): Message[] {
    this.#held.push(chunk);
    this.#bytes += chunk.length;
    if (this.#bytes < this.#wanted()) return [];
    let rest = this.#held.length === 1 ? chunk : Buffer.concat(this.#held);
    const messages: Message[] = [];
    while (rest.length >= 5) {
      const length = rest.readUInt32BE(1);
      if (length < 4 || length > MOST_BYTES) throw new Error("the peer does not speak PostgreSQL's protocol");
      if (rest.length < 1 + length) break;
      messages.push({ type: String.fromCharCode(rest[0] as number), body: rest.subarray(5, 1 + length) });
      rest = rest.subarray(1 + length);
    }
    this.#held = rest.length === 0 ? [] : [rest];
    this.#bytes = rest.length;
    return messages;
  }

  /** How many bytes there must be before there can be another message; joining pieces earlier would copy a long one many times. */
  #wanted(): number {
    const [first] = this.#held;
    return first === undefined || first.length < 5 ? 5 : Math.min(1 + first.readUInt32BE(1), 1 + MOST_BYTES);
  }
}

/** A message to a server. */
export function message(type: string, ...parts: (string | Buffer)[]): Buffer {
  const body = parts.map((part) => (typeof part === "string" ? Buffer.from(`${part}\0`) : part));
  const head = Buffer.alloc(5);
  head.write(type, 0, "latin1");
  head.writeUInt32BE(4 + body.reduce((sum, part) => sum + part.length, 0), 1);
  return Buffer.concat([head, ...body]);
}

/** The first message of a connection has no type. */
export function startupMessage(parameters: Record<string, string>): Buffer {
  const pairs = Object.entries(parameters).flatMap(([name, value]) => [`${name}\0`, `${value}\0`]);
  const body = Buffer.from(`${pairs.join("")}\0`);
  const head = Buffer.alloc(8);
  head.writeUInt32BE(8 + body.length, 0);
  head.writeUInt32BE(196_608, 4);
  return Buffer.concat([head, body]);
}

export const SSL_REQUEST: Buffer = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);

/** What a server reports as wrong. `routine` is the function of its source: unlike the message, it is never translated. */
export class ServerError extends Error {
  readonly code: string;
  readonly severity: string;
  readonly routine: string;
  readonly detail: string;

  constructor(fields: Map<string, string>) {
    super(fields.get("M") ?? "unknown error");
    this.name = "ServerError";
    this.code = fields.get("C") ?? "XX000";
    this.severity = fields.get("V") ?? fields.get("S") ?? "ERROR";
    this.routine = fields.get("R") ?? "";
    this.detail = fields.get("D") ?? "";
  }
}

/** The fields of an error or a notice, by their letter. */
export function errorFields(body: Buffer): Map<string, string> {
  const fields = new Map<string, string>();
  for (const field of body.toString("utf8").split("\0"))
    if (field !== "") fields.set(field.slice(0, 1), field.slice(1));
  return fields;
}

export function rowDescription(body: Buffer): string[] {
  const names: string[] = [];
  let at = 2;
  for (let i = 0; i < body.readUInt16BE(0); i++) {
    const end = body.indexOf(0, at);
    names.push(body.toString("utf8", at, end));
    at = end + 19;
  }
  return names;
}

export function dataRow(body: Buffer): (string | null)[] {
  const values: (string | null)[] = [];
  let at = 2;
  for (let i = 0; i < body.readUInt16BE(0); i++) {
    const length = body.readInt32BE(at);
    at += 4;
    values.push(length < 0 ? null : body.toString("utf8", at, at + length));
    if (length > 0) at += length;
  }
  return values;
}
