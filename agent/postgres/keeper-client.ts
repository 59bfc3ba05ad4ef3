import { Readable } from "node:stream";
import type { ReadableStream } from "node:stream/web";
import type { z } from "zod";
import {
  BaseBackup,
  KeeperError,
  type KeeperErrorCode,
  KeptDatabase,
  RestorePlan,
  RestorePoints,
  type RestoreTarget,
  type SeedQuery,
  type WriterAddress,
} from "../../contract/keeper.ts";
import type { KeeperAddress } from "../../contract/writer.ts";
import { askKeeper } from "./keeper-request.ts";

const ANSWER_MS = 10_000;
/** A new database is a few megabytes. */
const SEED_MS = 60_000;
/** One that stands still in the middle of what it sends is given up, and another is asked. */
const SILENT_MS = 30_000;

/** What a keeper refused, or that it does not answer. */
export class KeeperFailure extends Error {
  readonly code: KeeperErrorCode | "unreachable";

  constructor(code: KeeperErrorCode | "unreachable", message: string) {
    super(message);
    this.code = code;
  }
}

/** One keeper's API, for one database. */
export class KeeperClient {
  readonly name: string;
  readonly #keeper: KeeperAddress;
  readonly #base: string;
  readonly #silentMs: number;

  constructor(keeper: KeeperAddress, database: string, silentMs = SILENT_MS) {
    this.#silentMs = silentMs;
    this.name = keeper.name;
    this.#keeper = keeper;
    this.#base = `/databases/${encodeURIComponent(database)}`;
  }

  status(withinMs?: number): Promise<KeptDatabase> {
    return this.#json("GET", "", KeptDatabase, undefined, withinMs);
  }

  promise(term: number): Promise<KeptDatabase> {
    return this.#json("POST", "/promise", KeptDatabase, { term });
  }

  follow(writer: WriterAddress): Promise<KeptDatabase> {
    return this.#json("PUT", "/writer", KeptDatabase, writer);
  }

  release(term: number): Promise<KeptDatabase> {
    return this.#json("DELETE", `/writer?term=${term}`, KeptDatabase);
  }

  /** All that is kept of the database goes, in the object store too. */
  async forget(term: number): Promise<void> {
    await this.#ask("DELETE", `?term=${term}`);
  }

  async seed(query: SeedQuery, archive: Readable): Promise<KeptDatabase> {
    const words = Object.entries(query).map(([name, value]) => [name, String(value)]);
    const body = Readable.toWeb(archive);
    const response = await this.#ask("PUT", `/seed?${new URLSearchParams(words)}`, body, AbortSignal.timeout(SEED_MS));
    return KeptDatabase.parse(await response.json());
  }

  takeBase(): Promise<BaseBackup> {
    return this.#json("POST", "/bases", BaseBackup, undefined, null);
  }

  restorePoints(withinMs?: number): Promise<RestorePoints> {
    return this.#json("GET", "/restore-points", RestorePoints, undefined, withinMs);
  }

  restorePlan(target: RestoreTarget): Promise<RestorePlan> {
    const query = target === null ? "" : "lsn" in target ? `?lsn=${target.lsn}` : `?time=${target.time}`;
    return this.#json("GET", `/restore-plan${query}`, RestorePlan);
  }

  base(id: string): Promise<Readable> {
    return this.#stream(`/bases/${id}`);
  }

  /** The first bytes of a segment, or a history file. */
  log(file: string, bytes?: number): Promise<Readable> {
    return this.#stream(`/wal/${file}${bytes === undefined ? "" : `?bytes=${bytes}`}`);
  }

  async #json<T extends z.ZodType>(
    method: string,
    path: string,
    answer: T,
    body?: unknown,
    timeoutMs: number | null = ANSWER_MS,
  ): Promise<z.infer<T>> {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const signal = timeoutMs === null ? undefined : AbortSignal.timeout(timeoutMs);
    return answer.parse(await (await this.#ask(method, path, text, signal)).json());
  }

  async #stream(path: string): Promise<Readable> {
    const silence = new AbortController();
    const late = setTimeout(() => silence.abort(this.#silent()), this.#silentMs);
    const response = await this.#ask("GET", path, undefined, silence.signal).finally(() => clearTimeout(late));
    if (response.body === null) return Readable.from([]);
    const body = Readable.fromWeb(response.body as ReadableStream);
    return Readable.from(this.#heard(body, silence), { objectMode: false });
  }

  /** What comes, for as long as something does. How long it takes to be taken does not count. */
  async *#heard(body: Readable, silence: AbortController): AsyncGenerator<Buffer> {
    const chunks = body[Symbol.asyncIterator]();
    try {
      for (;;) {
        const late = setTimeout(() => {
          body.destroy(this.#silent());
          silence.abort();
        }, this.#silentMs);
        const { done, value } = await chunks.next().finally(() => clearTimeout(late));
        if (done) return;
        yield value as Buffer;
      }
    } finally {
      body.destroy();
    }
  }

  #silent(): KeeperFailure {
    return new KeeperFailure("unreachable", `keeper ${this.name} has stopped sending`);
  }

  async #ask(method: string, path: string, body?: string | ReadableStream, signal?: AbortSignal): Promise<Response> {
    const response = await askKeeper(this.#keeper, `${this.#base}${path}`, { method, body, signal }).catch(
      (error: Error & { cause?: Error }) => {
        throw new KeeperFailure("unreachable", `keeper ${this.name}: ${error.cause?.message ?? error.message}`);
      },
    );
    if (response.ok) return response;
    const problem = KeeperError.safeParse(await response.json().catch(() => null));
    if (!problem.success) throw new KeeperFailure("unavailable", `keeper ${this.name} answers HTTP ${response.status}`);
    throw new KeeperFailure(problem.data.code, `keeper ${this.name}: ${problem.data.message}`);
  }
}
