import { findJsonFault } from "./json-position.ts";
import { fail } from "./problem.ts";

export const BODY_LIMIT = 1_048_576;

const JSON_TYPE = /^application\/(?:[\w.!#$&^-]+\+)?json\s*(?:;|$)/i;

/** The body's text and what it says as JSON. Never holds more than the limit, whatever the request claims about its length. */
export async function readJson(request: Request): Promise<{ text: string; value: unknown }> {
  const type = request.headers.get("content-type");
  if (type === null || !JSON_TYPE.test(type)) {
    fail(
      "unsupported_media_type",
      `Expected Content-Type application/json, got ${type === null ? "none" : JSON.stringify(type.slice(0, 100))}.`,
    );
  }
  const text = decode(await readLimited(request, BODY_LIMIT));
  try {
    return { text, value: JSON.parse(text) };
  } catch {
    const { line, column, message } = findJsonFault(text);
    return fail("malformed_body", `The body is not valid JSON: line ${line}, column ${column}: ${message}.`, {
      more: { line, column },
    });
  }
}

/** A body as text, whatever it says that it is: for what is verified over its bytes. */
export const readText = async (request: Request): Promise<string> => decode(await readLimited(request, BODY_LIMIT));

async function readLimited(request: Request, limit: number): Promise<Uint8Array> {
  const tooLarge = () => fail("body_too_large", `The body is larger than ${limit.toLocaleString("en")} bytes.`);
  if (Number(request.headers.get("content-length") ?? 0) > limit) tooLarge();
  const chunks: Uint8Array[] = [];
  let size = 0;
  const reader = request.body?.getReader();
  while (reader) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.byteLength;
    if (size > limit) {
      await reader.cancel();
      tooLarge();
    }
    chunks.push(value);
  }
  if (chunks.length === 1) return chunks[0] as Uint8Array;
  const all = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.byteLength;
  }
  return all;
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(bytes);
  } catch {
    return fail("malformed_body", "The body is not valid UTF-8.");
  }
}
