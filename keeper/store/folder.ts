import { createReadStream } from "node:fs";
import { copyFile, link, mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join, relative, resolve, sep } from "node:path";
import type { Readable } from "node:stream";
import { replaceFile, syncFolder } from "../durable-file.ts";
import type { ObjectStore } from "./object-store.ts";

/** Shows that a folder is the store, and not the empty place where it is to be mounted. */
const MARK = ".lamplighter-store";

/** A folder as an object store: of the keeper's own machine, or of a file server. */
export class FolderStore implements ObjectStore {
  readonly name: string;
  readonly #root: string;
  readonly #seenFile: string;
  #isChecked = false;

  /** @param seenFile is made once the folder was there, and lies outside of it */
  constructor(root: string, seenFile: string) {
    this.#root = resolve(root);
    this.#seenFile = seenFile;
    this.name = this.#root;
  }

  async put(key: string, body: Buffer): Promise<void> {
    const path = await this.#placeOf(key);
    await replaceFile(path, body);
  }

  async putFile(key: string, from: string): Promise<void> {
    const path = await this.#placeOf(key);
    const fresh = `${path}.new`;
    await rm(fresh, { force: true });
    // On one file system a second name costs nothing.
    await link(from, fresh).catch(() => copyFile(from, fresh));
    const file = await open(fresh, "r+");
    await file.sync().finally(() => file.close());
    await rename(fresh, path);
    await rm(fresh, { force: true });
    await syncFolder(dirname(path));
  }

  async get(key: string): Promise<Readable | null> {
    await this.#check();
    const path = join(this.#root, key);
    if ((await stat(path).catch(() => null)) === null) return null;
    return createReadStream(path);
  }

  async *list(prefix: string): AsyncIterable<string> {
    await this.#check();
    const folder = join(this.#root, prefix.endsWith("/") ? prefix : dirname(prefix));
    const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
    for (const entry of entries) {
      const key = relative(this.#root, join(entry.parentPath, entry.name)).split(sep).join("/");
      if (entry.isFile() && key.startsWith(prefix) && !key.endsWith(".new")) yield key;
    }
  }

  async remove(key: string): Promise<void> {
    await this.#check();
    await rm(join(this.#root, key), { force: true });
  }

  async #placeOf(key: string): Promise<string> {
    await this.#check();
    const path = join(this.#root, key);
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    return path;
  }

  async #check(): Promise<void> {
    const mark = join(this.#root, MARK);
    if ((await stat(mark).catch(() => null)) !== null) {
      if (!this.#isChecked) await this.#remember();
      return;
    }
    if ((await stat(this.#seenFile).catch(() => null)) !== null)
      throw new Error(`${this.#root} is not the store that was there before: it is not mounted, or was removed`);
    await mkdir(this.#root, { recursive: true, mode: 0o700 });
    await replaceFile(
      mark,
      "An object store of Lamplighter's keeper. Without this file the keeper does not use the folder.\n",
    );
    await this.#remember();
  }

  async #remember(): Promise<void> {
    if ((await stat(this.#seenFile).catch(() => null)) === null) await replaceFile(this.#seenFile, `${this.#root}\n`);
    this.#isChecked = true;
  }
}
