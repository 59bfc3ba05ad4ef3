import { randomBytes } from "node:crypto";
import { readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, expect, test, vi } from "vitest";
import { OpenSegment, PARTIAL } from "../../keeper/segment.ts";
import { Diverged, TimelineLog } from "../../keeper/timeline-log.ts";
import { SEGMENT_BYTES, segmentName, segmentStart } from "../../postgres/lsn.ts";
import { random } from "../random.ts";
import { scratch } from "../scratch.ts";

const folder = scratch("segments");
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const SECTOR = 512;

test("a power cut in a batch: whatever of its sectors reached the disk, what was synced before is there and nothing else", async () => {
  const rnd = random(Number(process.env.LAMPLIGHTER_SEED ?? 7));
  const path = join(folder, "torn");
  const partial = path + PARTIAL;
  const stream = randomBytes(3_000_000);
  const segment = await OpenSegment.create(path);
  let end = 0;
  for (let batch = 0; batch < 25; batch++) {
    await segment.sync();
    const synced = segment.synced;
    const before = readFileSync(partial);
    for (let piece = 0; piece <= rnd.int(3); piece++) {
      const size = 1 + rnd.int(rnd.chance(0.2) ? 60_000 : 3_000);
      await segment.append(stream.subarray(end, end + size));
      end += size;
    }
    await segment.sync();
    const after = readFileSync(partial);
    for (let cut = 0; cut < 4; cut++) {
      writeFileSync(partial, torn(before, after, rnd.next(), rnd));
      const recovered = await OpenSegment.recover(path);
      expect([synced, end]).toContain(recovered.synced);
      expect(readFileSync(partial).subarray(0, recovered.synced).equals(stream.subarray(0, recovered.synced))).toBe(
        true,
      );
      await recovered.close();
    }
    writeFileSync(partial, after);
  }
  await segment.close();
});

/** Of the sectors that a batch changed, some reached the disk. */
function torn(before: Buffer, after: Buffer, share: number, rnd: ReturnType<typeof random>): Buffer {
  const mixed = Buffer.from(after);
  before.copy(mixed);
  for (let at = 0; at < after.length; at += SECTOR)
    if (rnd.chance(share)) after.copy(mixed, at, at, Math.min(at + SECTOR, after.length));
  return mixed;
}

test("a log over several segments: full ones have their name and size, and it is taken up where it was", async () => {
  const at = segmentStart(5);
  const bytes = randomBytes(SEGMENT_BYTES + 5_000);
  const log = await TimelineLog.begin(folder, 3, at + 100n);
  const piece = (from: number, to: number) => ({ start: at + BigInt(from), data: bytes.subarray(from, to) });
  expect(await log.append([piece(0, 4_000), piece(4_000, 9_000)])).toEqual([]);
  await log.sync();
  expect(log.position).toBe(at + 9_000n);
  expect(await log.append([piece(9_000, SEGMENT_BYTES + 5_000)])).toEqual([5]);
  await log.sync();
  await log.close();
  expect(statSync(join(folder, segmentName(3, 5))).size).toBe(SEGMENT_BYTES);
  const again = await TimelineLog.open(folder, 3, 0n);
  expect(again.position).toBe(at + BigInt(SEGMENT_BYTES) + 5_000n);

  // What comes once more is compared, and has to be the same; what comes too late is no continuation.
  expect(await again.append([piece(SEGMENT_BYTES - 10, SEGMENT_BYTES + 5_000)])).toEqual([]);
  const other = Buffer.from(bytes.subarray(8_000, 8_100));
  other[50] = (other[50] ?? 0) ^ 1;
  await expect(again.append([{ start: at + 8_000n, data: other }])).rejects.toThrow(Diverged);
  await expect(again.append([{ start: again.position + 1n, data: Buffer.alloc(1) }])).rejects.toThrow(Diverged);
  await again.close();
});

test.each(["datasync", "write"] as const)(
  "a %s that fails: nothing of it counts, and what comes again goes to a new file",
  async (name) => {
    const probe = await open(join(folder, "probe"), "w");
    const prototype = Object.getPrototypeOf(probe);
    await probe.close();
    const bytes = randomBytes(60_000);
    const at = segmentStart(9);
    const log = await TimelineLog.begin(folder, 4, at);
    await log.append([{ start: at, data: bytes.subarray(0, 20_000) }]);
    await log.sync();
    const { ino } = statSync(join(folder, segmentName(4, 9) + PARTIAL));
    const failing = vi.spyOn(prototype, name).mockRejectedValueOnce(new Error("ENOSPC: no space left on device"));
    const rest = [{ start: at + 20_000n, data: bytes.subarray(20_000, 50_000) }];
    await expect(log.append(rest).then(() => log.sync())).rejects.toThrow("ENOSPC");
    failing.mockRestore();
    expect(log.position).toBe(at + 20_000n);
    await log.append(rest);
    await log.sync();
    expect(log.position).toBe(at + 50_000n);
    expect(statSync(join(folder, segmentName(4, 9) + PARTIAL)).ino).not.toBe(ino);
    await log.close();
    const again = await TimelineLog.open(folder, 4, 0n);
    expect(again.position).toBe(at + 50_000n);
    expect(
      readFileSync(join(folder, segmentName(4, 9) + PARTIAL))
        .subarray(0, 50_000)
        .equals(bytes.subarray(0, 50_000)),
    ).toBe(true);
    await again.close();
  },
);
