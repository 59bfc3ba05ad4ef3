import { randomBytes } from "node:crypto";
import { rmSync, writeFileSync } from "node:fs";
import { rename } from "node:fs/promises";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { FolderStore } from "../../keeper/store/folder.ts";
import type { ObjectStore } from "../../keeper/store/object-store.ts";
import { S3Store } from "../../keeper/store/s3.ts";
import { scratch } from "../scratch.ts";
import { CREDENTIALS, type S3Server, startS3 } from "./s3-server.ts";

const folder = scratch("stores");
let s3: S3Server;

beforeAll(async () => {
  s3 = await startS3("lamps");
});
afterAll(() => {
  s3.close();
  rmSync(folder, { recursive: true, force: true });
});

const listed = async (store: ObjectStore, prefix: string): Promise<string[]> => {
  const keys = [];
  for await (const key of store.list(prefix)) keys.push(key);
  return keys.sort();
};
const textOf = async (store: ObjectStore, key: string): Promise<string | null> => {
  const stream = await store.get(key);
  return stream === null ? null : (await buffer(stream)).toString();
};

const stores: Record<string, () => ObjectStore> = {
  "a folder": () => new FolderStore(join(folder, "store"), join(folder, "seen")),
  "an S3 service": () =>
    new S3Store({ ...CREDENTIALS, endpoint: s3.endpoint, bucket: "lamps", prefix: "of/keepers", partBytes: 100_000 }),
};

describe.each(Object.keys(stores))("%s", (kind) => {
  test("what is put is there, all of it, under its own key, until it is removed", async () => {
    const store = (stores[kind] as () => ObjectStore)();
    expect(await textOf(store, "databases/none")).toBeNull();
    await store.put("databases/a/k/manifest.json", Buffer.from("one"));
    await store.put("databases/a/k/manifest.json", Buffer.from("two"));
    expect(await textOf(store, "databases/a/k/manifest.json")).toBe("two");
    const large = randomBytes(350_001);
    writeFileSync(join(folder, "large"), large);
    await store.putFile("databases/a/k/bases/large.tar.zst", join(folder, "large"));
    const back = await store.get("databases/a/k/bases/large.tar.zst");
    expect(back && (await buffer(back)).equals(large)).toBe(true);
    writeFileSync(join(folder, "small"), "");
    await store.putFile("databases/a/k/bases/small", join(folder, "small"));
    for (let i = 0; i < 7; i++) await store.put(`databases/ab/k/wal/1/1/${i}.x&y`, Buffer.from([i]));
    expect(await listed(store, "databases/a/")).toEqual([
      "databases/a/k/bases/large.tar.zst",
      "databases/a/k/bases/small",
      "databases/a/k/manifest.json",
    ]);
    expect((await listed(store, "databases/ab/")).length).toBe(7);
    await store.remove("databases/a/k/bases/small");
    await store.remove("databases/a/k/bases/small");
    expect((await listed(store, "databases/")).length).toBe(9);
  });
});

test("an S3 service that is busy is asked again; a wrong key is an error that says so, and not that nothing is there", async () => {
  const store = (stores["an S3 service"] as () => ObjectStore)();
  s3.fail(2);
  await store.put("databases/busy", Buffer.from("there"));
  expect(await textOf(store, "databases/busy")).toBe("there");
  const stranger = new S3Store({ ...CREDENTIALS, secretAccessKey: "no", endpoint: s3.endpoint, bucket: "lamps" });
  await expect(stranger.get("databases/busy")).rejects.toThrow("SignatureDoesNotMatch");
  const nowhere = new S3Store({ ...CREDENTIALS, endpoint: s3.endpoint, bucket: "other" });
  await expect(nowhere.put("databases/x", Buffer.from("x"))).rejects.toThrow("NoSuchBucket");
});

test("a folder that is not mounted any more is not taken for an empty store", async () => {
  const place = join(folder, "mounted");
  const seen = join(folder, "mounted-seen");
  await new FolderStore(place, seen).put("databases/a", Buffer.from("a"));
  await rename(place, `${place}-away`);
  const store = new FolderStore(place, seen);
  await expect(store.get("databases/a")).rejects.toThrow("not the store that was there before");
  await expect(store.put("databases/a", Buffer.from("b"))).rejects.toThrow("not the store that was there before");
  await rename(`${place}-away`, place);
  expect(await textOf(store, "databases/a")).toBe("a");
});
