// A data folder on its way as tar.zst.
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { afterAll, expect, test } from "vitest";
import { pack, unpack } from "../../agent/postgres/archive.ts";

const root = mkdtempSync(join(tmpdir(), "lamp-archive-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const sha256 = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");
const folder = (name: string): string => {
  const path = join(root, name);
  mkdirSync(path);
  return path;
};

test("tar may have all that it needs before the end has come", async () => {
  const from = folder("from");
  writeFileSync(join(from, "file"), "content");
  const packed = await buffer(pack(from));
  // Beyond the end of the archive, and after a while: by then tar has gone.
  const longer = zstdCompressSync(Buffer.concat([zstdDecompressSync(packed), Buffer.alloc(4_000_000)]));
  async function* slowly() {
    for (let at = 0; at < longer.length; at += 200) {
      yield longer.subarray(at, at + 200);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
  const to = folder("to");
  await unpack(Readable.from(slowly()), to, sha256(longer), null);
  expect(readFileSync(join(to, "file"), "utf8")).toBe("content");
});

test("what is cut short, or is another one than was taken, is refused", async () => {
  const from = folder("whole");
  writeFileSync(join(from, "file"), Buffer.alloc(3_000_000, 7));
  const packed = await buffer(pack(from));
  const half = packed.subarray(0, packed.length / 2);
  await expect(unpack(Readable.from([half]), folder("half"), sha256(half), null)).rejects.toThrow();
  await expect(unpack(Readable.from([packed]), folder("other"), sha256(half), null)).rejects.toThrow(
    "checksum differs",
  );
});
