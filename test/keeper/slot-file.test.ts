import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { readSlots, writeSlots } from "../../keeper/slot-file.ts";
import { readState, unknownDatabase, writeState } from "../../keeper/state.ts";

const folder = mkdtempSync(join(tmpdir(), "lamplighter-slots-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const SECTOR = 512;

test("the last text that was written counts, whatever their lengths", async () => {
  const text = fc.oneof(
    fc.string({ maxLength: 50 }),
    fc.nat(60_000).map((length) => "ä".repeat(length)),
  );
  let nth = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(text, { minLength: 1, maxLength: 8 }), async (texts) => {
      const path = join(folder, `lengths-${nth++}`);
      expect(await readSlots(path)).toBe(null);
      for (const each of texts) {
        await writeSlots(path, each);
        expect(await readSlots(path)).toBe(each);
      }
    }),
    { numRuns: 25, seed: 20261121 },
  );
});

test("a power cut in a write: whatever of its sectors reached the disk, the text before counts, or this one", async () => {
  const path = join(folder, "torn");
  const texts = [3_000, 2_000, 5_000, 4_000].map((length, i) => `${i}`.repeat(length));
  for (const text of texts) await writeSlots(path, text);
  const before = readFileSync(path);
  await writeSlots(path, "4".repeat(4_500));
  const after = readFileSync(path);
  const changed = Array.from({ length: after.length / SECTOR }, (_, i) => i).filter(
    (i) => !before.subarray(i * SECTOR, (i + 1) * SECTOR).equals(after.subarray(i * SECTOR, (i + 1) * SECTOR)),
  );
  expect(changed.length).toBeGreaterThan(5);
  await fc.assert(
    fc.asyncProperty(fc.subarray(changed), async (reached) => {
      const torn = Buffer.from(before);
      for (const i of reached) after.copy(torn, i * SECTOR, i * SECTOR, (i + 1) * SECTOR);
      writeFileSync(path, torn);
      const text = await readSlots(path);
      expect(text).toBe(reached.length === changed.length ? "4".repeat(4_500) : texts.at(-1));
      // And it goes on from there.
      await writeSlots(path, "next");
      expect(await readSlots(path)).toBe("next");
    }),
    { numRuns: 60, seed: 20261122 },
  );
});

test("a file that is damaged as a whole is no new one", async () => {
  const path = join(folder, "damaged");
  writeFileSync(path, Buffer.alloc(32_768, 7));
  await expect(readSlots(path)).rejects.toThrow("is damaged");
});

test("a state from before there were slots is read, and then kept in them", async () => {
  const state = { ...unknownDatabase("db_former"), promised_term: 4 };
  writeFileSync(join(folder, "state.json"), JSON.stringify(state));
  expect(await readState(folder)).toEqual(state);
  await writeState(folder, { ...state, promised_term: 5 });
  writeFileSync(join(folder, "state.json"), JSON.stringify(state));
  expect((await readState(folder))?.promised_term).toBe(5);
});
