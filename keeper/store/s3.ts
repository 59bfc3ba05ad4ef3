import { open, stat } from "node:fs/promises";
import { Readable } from "node:stream";
import type { ReadableStream } from "node:stream/web";
import { AwsClient } from "aws4fetch";
import type { ObjectStore } from "./object-store.ts";

export type S3Options = {
  /** Of the service: https://s3.eu-central-1.amazonaws.com, https://<account>.r2.cloudflarestorage.com, http://127.0.0.1:9000 */
  endpoint: string;
  bucket: string;
  /** Put before every key. */
  prefix?: string | undefined;
  region?: string | undefined;
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string | undefined;
  /** What goes into one request. */
  partBytes?: number | undefined;
};

/** S3 takes parts from 5 MiB on, and up to 10,000 of them. */
const PART_BYTES = 64 * 1024 * 1024;
const REQUEST_MS = 120_000;

/** Any service that speaks S3's API, by path-style addresses. */
export class S3Store implements ObjectStore {
  readonly name: string;
  readonly #client: AwsClient;
  readonly #base: string;
  readonly #prefix: string;
  readonly #partBytes: number;

  constructor(options: S3Options) {
    const { endpoint, bucket, prefix = "", region = "auto", accessKeyId, secretAccessKey, sessionToken } = options;
    this.#client = new AwsClient({
      ...{ accessKeyId, secretAccessKey, region, service: "s3", retries: 2 },
      ...(sessionToken === undefined ? {} : { sessionToken }),
    });
    this.#base = `${endpoint.replace(/\/+$/, "")}/${bucket}`;
    this.#prefix = prefix === "" ? "" : `${prefix.replace(/^\/+|\/+$/g, "")}/`;
    this.#partBytes = options.partBytes ?? PART_BYTES;
    this.name = `${this.#base}/${this.#prefix}`;
  }

  async put(key: string, body: Buffer): Promise<void> {
    await this.#ask("PUT", this.#urlOf(key), body);
  }

  async putFile(key: string, path: string): Promise<void> {
    const { size } = await stat(path);
    const file = await open(path);
    const part = async (at: number): Promise<Buffer> => {
      const bytes = Buffer.alloc(Math.min(this.#partBytes, size - at));
      await file.read(bytes, 0, bytes.length, at);
      return bytes;
    };
    try {
      if (size <= this.#partBytes) return await this.put(key, await part(0));
      const url = this.#urlOf(key);
      const begun = await (await this.#ask("POST", `${url}?uploads=`)).text();
      const upload = encodeURIComponent(element(begun, "UploadId") ?? "");
      try {
        const tags: string[] = [];
        for (let at = 0; at < size; at += this.#partBytes) {
          const answer = await this.#ask(
            "PUT",
            `${url}?partNumber=${tags.length + 1}&uploadId=${upload}`,
            await part(at),
          );
          tags.push(answer.headers.get("etag") ?? "");
        }
        const parts = tags
          .map((tag, i) => `<Part><PartNumber>${i + 1}</PartNumber><ETag>${tag}</ETag></Part>`)
          .join("");
        const list = `<CompleteMultipartUpload>${parts}</CompleteMultipartUpload>`;
        const done = await (await this.#ask("POST", `${url}?uploadId=${upload}`, Buffer.from(list))).text();
        // This request may fail after its status was sent.
        if (element(done, "Code") !== null) throw new Error(`${this.name}: ${element(done, "Message") ?? done}`);
      } catch (error) {
        await this.#ask("DELETE", `${url}?uploadId=${upload}`).catch(() => {});
        throw error;
      }
    } finally {
      await file.close();
    }
  }

  async get(key: string): Promise<Readable | null> {
    const response = await this.#ask("GET", this.#urlOf(key), undefined, [404]);
    if (response.status === 404 || response.body === null) {
      await response.body?.cancel();
      return null;
    }
    return Readable.fromWeb(response.body as ReadableStream);
  }

  async *list(prefix: string): AsyncIterable<string> {
    for (let token: string | null = null; ; ) {
      const query = new URLSearchParams({ "list-type": "2", prefix: this.#prefix + prefix });
      if (token !== null) query.set("continuation-token", token);
      const text = await (await this.#ask("GET", `${this.#base}?${query}`)).text();
      for (const [, key = ""] of text.matchAll(/<Key>([^<]*)<\/Key>/g)) yield plain(key).slice(this.#prefix.length);
      token = element(text, "NextContinuationToken");
      if (token === null) return;
    }
  }

  async remove(key: string): Promise<void> {
    await this.#ask("DELETE", this.#urlOf(key), undefined, [404]);
  }

  #urlOf(key: string): string {
    return `${this.#base}/${(this.#prefix + key).split("/").map(encodeURIComponent).join("/")}`;
  }

  async #ask(method: string, url: string, body?: Buffer, accepted: number[] = []): Promise<Response> {
    const response = await this.#client.fetch(url, {
      method,
      signal: AbortSignal.timeout(REQUEST_MS),
      ...(body === undefined ? {} : { body: new Uint8Array(body), headers: { "content-length": String(body.length) } }),
    });
    if (response.ok || accepted.includes(response.status)) return response;
    const text = await response.text();
    throw new Error(`${this.name} answers HTTP ${response.status}: ${element(text, "Code") ?? text.slice(0, 200)}`);
  }
}

function element(xml: string, name: string): string | null {
  const match = new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml);
  return match === null ? null : plain(match[1] ?? "");
}

const ENTITIES: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

const plain = (text: string): string =>
  text.replace(/&(amp|lt|gt|quot|apos);/g, (_, name: string) => ENTITIES[name] ?? "");
