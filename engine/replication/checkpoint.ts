import { open, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { deserialize, serialize } from "node:v8";
import type { Store } from "../store/table.ts";

type Head = { build: string; position: string; snapshot: number; tables: number[] };

/** The rows with their position on disk, so that an engine that was killed goes on from there. */
export class Checkpoint {
  readonly #path: string;
  readonly #build: string;

  /** @param build the artifact's id: another one has other tables */
  constructor(folder: string, build: string) {
    this.#path = join(folder, "checkpoint");
    this.#build = build;
  }

  /** Nothing may change in the store until it is written. */
  async write(store: Store, position: string, snapshot: number): Promise<void> {
    const draft = `${this.#path}.new`;
    const file = await open(draft, "w", 0o600);
    try {
      const pieces: number[] = [];
      // The head comes last, as only then the lengths are known; its own length is at the very end.
      for (const table of store.tables) {
        const data = serialize(table.dump());
        pieces.push(data.length);
        await file.write(data);
      }
      const head = Buffer.from(
        JSON.stringify({ build: this.#build, position, snapshot, tables: pieces } satisfies Head),
      );
      const length = Buffer.alloc(4);
      length.writeUInt32LE(head.length);
      await file.write(Buffer.concat([head, length]));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(draft, this.#path);
  }

  /** Puts the rows into an empty store. Null: there is no checkpoint of this very engine. */
  async read(store: Store): Promise<{ position: string; snapshot: number } | null> {
    const data = await readFile(this.#path).catch(() => null);
    if (data === null || data.length < 4) return null;
    try {
      const length = data.readUInt32LE(data.length - 4);
      const head = JSON.parse(data.toString("utf8", data.length - 4 - length, data.length - 4)) as Head;
      if (head.build !== this.#build || head.tables.length !== store.tables.length) return null;
      let at = 0;
      for (const [place, bytes] of head.tables.entries()) {
        store.tables[place]?.restore(deserialize(data.subarray(at, at + bytes)) as Record<string, unknown>);
        at += bytes;
      }
      return { position: head.position, snapshot: head.snapshot };
    } catch {
      return null;
    }
  }

  async forget(): Promise<void> {
    await rm(this.#path, { force: true });
  }
}
