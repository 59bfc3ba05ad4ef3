import type { Readable } from "node:stream";

/** Where copies outlive the keeper's own disk. A key is path-like; what is put under it is all there or not at all. */
export interface ObjectStore {
  /** For people: which store this is. */
  readonly name: string;
  put(key: string, body: Buffer): Promise<void>;
  /** The same of a file, of any size. The file is not changed afterwards. */
  putFile(key: string, path: string): Promise<void>;
  /** Null when there is no such object. */
  get(key: string): Promise<Readable | null>;
  /** The keys that begin with a prefix. */
  list(prefix: string): AsyncIterable<string>;
  /** Succeeds when there is no such object. */
  remove(key: string): Promise<void>;
}
