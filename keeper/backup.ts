import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { constants, createZstdCompress } from "node:zlib";
import { extract } from "tar-stream";
import type { Connection } from "../postgres/connection.ts";
import type { Lsn } from "../postgres/lsn.ts";
import { baseBackup } from "../postgres/replication/base-backup.ts";
import { syncFolder } from "./durable-file.ts";

export type TakenBackup = { start: Lsn; end: Lsn; timeline: number; bytes: number } & StoredFile;
export type StoredFile = { storedBytes: number; sha256: string };

/** A frame's own checksum makes a damaged file an error when it is unpacked. */
const zstd = () =>
  createZstdCompress({
    chunkSize: 512 * 1024,
    params: { [constants.ZSTD_c_compressionLevel]: 1, [constants.ZSTD_c_checksumFlag]: 1 },
  });

/**
 * Takes a base backup into a file, compressed. Every file in it has been compared with the server's manifest of checksums before the file
 * gets its name.
 */
export async function takeBackup(
  connection: Connection,
  { path, label, maxRateKib }: { path: string; label: string; maxRateKib?: number | undefined },
): Promise<TakenBackup> {
  const began: { start: Lsn; timeline: number }[] = [];
  const ended: { end: Lsn }[] = [];
  let bytes = 0;
  let inManifest = false;
  const manifest: Buffer[] = [];
  const checking = new TarChecksums();
  async function* archive(): AsyncGenerator<Buffer> {
    for await (const part of baseBackup(connection, { label, maxRateKib })) {
      if (part.kind === "begin") began.push(part);
      else if (part.kind === "end") ended.push(part);
      else if (part.kind === "manifest") inManifest = true;
      else if (part.kind === "archive" && part.tablespace !== null)
        throw new Error("the cluster has a tablespace of its own; only pg_default is supported");
      else if (part.kind === "data" && inManifest) manifest.push(part.data);
      else if (part.kind === "data") {
        bytes += part.data.length;
        await checking.write(part.data);
        yield part.data;
      }
    }
    compare(await checking.end(), Buffer.concat(manifest).toString("utf8"));
  }
  const stored = await storeFile(path, Readable.from(archive(), { objectMode: false }), "compress");
  const { start, timeline } = began[0] ?? never();
  const { end } = ended[0] ?? never();
  return { start, end, timeline, bytes, ...stored };
}

/** Writes a stream to a file, which has its name only once all of it is on disk. */
export async function storeFile(path: string, from: Readable, how: "compress" | "as it is"): Promise<StoredFile> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const fresh = `${path}.new`;
  const hash = createHash("sha256");
  let storedBytes = 0;
  async function* count(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of chunks) {
      hash.update(chunk);
      storedBytes += chunk.length;
      yield chunk;
    }
  }
  try {
    const target = createWriteStream(fresh, { mode: 0o600 });
    await (how === "compress" ? pipeline(from, zstd(), count, target) : pipeline(from, count, target));
    const file = await open(fresh, "r+");
    await file.sync().finally(() => file.close());
  } catch (error) {
    await rm(fresh, { force: true });
    throw error;
  }
  await rename(fresh, path);
  await syncFolder(dirname(path));
  return { storedBytes, sha256: hash.digest("hex") };
}

/** The SHA-256 of each file in a tar stream. */
class TarChecksums {
  readonly #tar = extract();
  readonly #done = this.#read();

  async write(chunk: Buffer): Promise<void> {
    if (this.#tar.write(chunk)) return;
    await Promise.race([new Promise<void>((resolve) => this.#tar.once("drain", () => resolve())), this.#done]);
  }

  end(): Promise<Map<string, string>> {
    this.#tar.end(null);
    return this.#done;
  }

  async #read(): Promise<Map<string, string>> {
    const sums = new Map<string, string>();
    for await (const entry of this.#tar) {
      const hash = createHash("sha256");
      for await (const chunk of entry) hash.update(chunk as Buffer);
      if (entry.header.type === "file") sums.set(entry.header.name.replace(/^\.\//, ""), hash.digest("hex"));
    }
    return sums;
  }
}

type ManifestFile = { Path?: string; "Encoded-Path"?: string; Checksum?: string };

function compare(sums: Map<string, string>, manifest: string): void {
  const { Files: files = [] } = JSON.parse(manifest) as { Files?: ManifestFile[] };
  if (files.length === 0) throw new Error("the base backup came without a manifest");
  for (const file of files) {
    const path = file.Path ?? Buffer.from(file["Encoded-Path"] ?? "", "hex").toString("utf8");
    if (sums.get(path) !== file.Checksum) throw new Error(`the base backup is damaged: ${path} has another checksum`);
  }
}

function never(): never {
  throw new Error("the server did not say where the base backup begins and ends");
}
