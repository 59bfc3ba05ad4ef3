import { type ChildProcess, execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import type { Readable } from "node:stream";
import { PassThrough } from "node:stream";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import { constants, createZstdCompress, createZstdDecompress } from "node:zlib";
import type { Account } from "../process/account.ts";
import { asUser } from "./account.ts";

const run = promisify(execFile);
/** Of a data folder there are tens or thousands of megabytes; Node's own 16 KiB cost more than the work on them. */
const CHUNK_BYTES = 512 * 1024;

/** A folder as tar.zst. */
export function pack(folder: string): Readable {
  const tar = spawn("tar", ["-C", folder, "-cf", "-", "."], { stdio: ["ignore", "pipe", "pipe"] });
  const packed = new PassThrough();
  const params = { [constants.ZSTD_c_compressionLevel]: 1, [constants.ZSTD_c_checksumFlag]: 1 };
  Promise.all([pipeline(tar.stdout, createZstdCompress({ params, chunkSize: CHUNK_BYTES }), packed), ended(tar)]).catch(
    (error: Error) => packed.destroy(error),
  );
  return packed;
}

/** Unpacks a tar.zst into a folder, as the user whose it is to be. Throws when it is damaged. Answers how many bytes it was unpacked. */
export async function unpack(
  from: Readable,
  folder: string,
  sha256: string,
  account: Account,
  come: (bytes: number) => void = () => {},
): Promise<number> {
  const options = ["-C", folder, "-xpf", "-", ...(process.platform === "linux" ? ["--no-same-owner"] : [])];
  const tar = spawn("tar", options, { ...asUser(account), cwd: "/", stdio: ["pipe", "ignore", "pipe"] });
  const hash = createHash("sha256");
  let bytes = 0;
  async function* hashed(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of chunks) {
      hash.update(chunk);
      yield chunk;
    }
  }
  const { stdin } = tar;
  // It ends at the end of the archive, which may be before the stream's; whether it had all of it, its exit code says.
  stdin.on("error", () => {});
  const closed = new Promise((resolve) => stdin.once("close", resolve));
  async function fill(chunks: AsyncIterable<Buffer>): Promise<void> {
    for await (const chunk of chunks) {
      bytes += chunk.length;
      come(chunk.length);
      if (stdin.writable && !stdin.write(chunk)) await Promise.race([once(stdin, "drain").catch(() => {}), closed]);
    }
    stdin.end();
  }
  const done = ended(tar);
  done.catch(() => {});
  await pipeline(from, hashed, createZstdDecompress({ chunkSize: CHUNK_BYTES }), fill).catch((error: Error) => {
    stdin.destroy();
    throw error;
  });
  await done;
  if (hash.digest("hex") !== sha256)
    throw new Error("the base backup is not the one that was taken: its checksum differs");
  return bytes;
}

/** Everything written below a folder is on disk once this has returned. */
export async function syncAll(folder: string): Promise<void> {
  if (process.platform === "linux") await run("sync", ["-f", folder]);
  else await run("sync");
}

async function ended(program: ChildProcess): Promise<void> {
  let said = "";
  program.stderr?.on("data", (chunk: Buffer) => {
    said = (said + chunk.toString("utf8")).slice(-2000);
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    program.once("error", reject);
    program.once("close", resolve);
  });
  if (code !== 0) throw new Error(`tar ends with ${code}: ${said.trim()}`);
}
