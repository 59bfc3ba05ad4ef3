// A registry on loopback, enough of the distribution API v2 for an engine to pull from: basic auth for names under `private/`, a layer that comes as
// slowly as asked for, and a count of what was fetched.
import { createHash, randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { gzipSync } from "node:zlib";
import type Docker from "dockerode";
import { testImage } from "../docker-image.ts";
import { pause } from "./docker-harness.ts";

const CONFIG = "application/vnd.docker.container.image.v1+json";
const LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const MANIFEST = "application/vnd.docker.distribution.manifest.v2+json";

const sha256 = (bytes: Buffer): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

export class Registry {
  readonly username = "lamp";
  readonly password = `pw-${randomBytes(6).toString("hex")}`;
  readonly #server: Server;
  readonly #blobs = new Map<string, Buffer>();
  readonly #manifests = new Map<string, Buffer>();
  /** How often each blob was asked for. */
  readonly fetched = new Map<string, number>();
  /** How long a layer takes, ms. */
  slowness = 0;

  constructor() {
    this.#server = createServer(
      (request, response) => void this.#answer(request, response).catch(() => response.destroy()),
    );
  }

  async open(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return this;
  }

  get host(): string {
    return `127.0.0.1:${(this.#server.address() as { port: number }).port}`;
  }

  /** Puts the test image under a name, with one more layer of random bytes, so that no two are the same. Answers its digest. */
  async publish(
    engine: Docker,
    name: string,
    tag: string,
    size = 0,
  ): Promise<{ image: string; digest: string; layer: string }> {
    const base = await rootfs(engine);
    const layers = [base, tarOf("random", randomBytes(Math.max(size, 16)))];
    const zipped = layers.map((tar) => gzipSync(tar, { level: 1 }));
    const config = Buffer.from(
      JSON.stringify({
        architecture: (await engine.version()).Arch,
        os: "linux",
        config: { Env: ["PATH=/bin"], Cmd: ["/bin/sh"] },
        rootfs: { type: "layers", diff_ids: layers.map(sha256) },
        history: layers.map(() => ({ created: "2026-01-01T00:00:00Z", created_by: "test" })),
      }),
    );
    const of = (mediaType: string, bytes: Buffer) => ({ mediaType, size: bytes.length, digest: sha256(bytes) });
    for (const blob of [config, ...zipped]) this.#blobs.set(sha256(blob), blob);
    const manifest = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MANIFEST,
        config: of(CONFIG, config),
        layers: zipped.map((it) => of(LAYER, it)),
      }),
    );
    const digest = sha256(manifest);
    this.#manifests.set(`${name}:${tag}`, manifest);
    this.#manifests.set(`${name}:${digest}`, manifest);
    return { image: `${this.host}/${name}:${tag}`, digest, layer: sha256(zipped[1] as Buffer) };
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? "").split("?")[0] ?? "";
    const isAllowed =
      request.headers.authorization === `Basic ${Buffer.from(`${this.username}:${this.password}`).toString("base64")}`;
    response.setHeader("docker-distribution-api-version", "registry/2.0");
    // Engines look at the root to learn how to sign in, so it has to be the one that asks.
    const asksForSignIn = path === "/v2/" || path.startsWith("/v2/private/");
    if (asksForSignIn && !isAllowed && (path !== "/v2/" || request.headers.authorization)) {
      response.writeHead(401, { "www-authenticate": 'Basic realm="test"', "content-type": "application/json" });
      response.end(JSON.stringify({ errors: [{ code: "UNAUTHORIZED", message: "authentication required" }] }));
      return;
    }
    if (path === "/v2/") {
      // A 401 here makes an engine sign in; one without credentials then goes on without.
      response.writeHead(isAllowed ? 200 : 401, { "www-authenticate": 'Basic realm="test"' }).end("{}");
      return;
    }
    const [, name, kind, reference] = /^\/v2\/(.+)\/(manifests|blobs)\/(.+)$/.exec(path) ?? [];
    const bytes = kind === "manifests" ? this.#manifests.get(`${name}:${reference}`) : this.#blobs.get(reference ?? "");
    if (!bytes) {
      response.writeHead(404, { "content-type": "application/json" });
      response.end(JSON.stringify({ errors: [{ code: "MANIFEST_UNKNOWN", message: "manifest unknown" }] }));
      return;
    }
    const type = kind === "manifests" ? MANIFEST : "application/octet-stream";
    response.writeHead(200, {
      "content-type": type,
      "content-length": bytes.length,
      "docker-content-digest": sha256(bytes),
    });
    if (request.method === "HEAD") {
      response.end();
      return;
    }
    if (kind === "blobs") this.fetched.set(reference ?? "", (this.fetched.get(reference ?? "") ?? 0) + 1);
    await this.#send(response, bytes, kind === "blobs" ? this.slowness : 0);
  }

  async #send(response: ServerResponse, bytes: Buffer, ms: number): Promise<void> {
    const pieces = ms === 0 ? 1 : 20;
    const length = Math.ceil(bytes.length / pieces);
    for (let at = 0; at < bytes.length && !response.destroyed; at += length) {
      response.write(bytes.subarray(at, at + length));
      if (ms > 0) await pause(ms / pieces);
    }
    response.end();
  }
}

let exported: Promise<Buffer> | undefined;

/** The test image's files as one tar. */
function rootfs(engine: Docker): Promise<Buffer> {
  exported ??= (async () => {
    const container = await engine.createContainer({ Image: testImage });
    try {
      const chunks: Buffer[] = [];
      for await (const chunk of await container.export()) chunks.push(chunk as Buffer);
      return Buffer.concat(chunks);
    } finally {
      await container.remove({ force: true });
    }
  })();
  return exported;
}

/** A tar archive with one file. */
function tarOf(name: string, content: Buffer): Buffer {
  const header = Buffer.alloc(512);
  header.write(name, 0);
  header.write("0000644\0", 100);
  header.write("0000000\0", 108);
  header.write("0000000\0", 116);
  header.write(`${content.length.toString(8).padStart(11, "0")}\0`, 124);
  header.write("00000000000\0", 136);
  header.write("        ", 148);
  header.write("0", 156);
  header.write("ustar\x0000", 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return Buffer.concat([header, content, Buffer.alloc((512 - (content.length % 512)) % 512), Buffer.alloc(1024)]);
}
