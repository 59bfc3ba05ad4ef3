import type { Readable } from "node:stream";
import { type StoredFile, storeFile } from "./backup.ts";

/** A file that is sent from elsewhere. Nobody waits in line for it: who sends it may stand still, and keep the connection. */
export class Upload {
  #current: { from: Readable; done: Promise<StoredFile> } | null = null;

  /** One at a time: the later one counts. */
  async take(path: string, from: Readable): Promise<StoredFile> {
    while (this.#current !== null) await this.stop("it is sent anew");
    const done = storeFile(path, from, "as it is");
    this.#current = { from, done };
    return done.finally(() => {
      if (this.#current?.done === done) this.#current = null;
    });
  }

  async stop(why: string): Promise<void> {
    const current = this.#current;
    current?.from.destroy(new Error(why));
    await current?.done.catch(() => {});
    if (this.#current === current) this.#current = null;
  }
}
