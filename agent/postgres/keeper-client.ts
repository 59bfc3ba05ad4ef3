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

  constructor(keeper: KeeperAddress, database: string) {
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
    await this.#ask("DELETE", `?term=${term}`, undefined, null);
  }

  async seed(query: SeedQuery, archive: Readable): Promise<KeptDatabase> {
    const words = Object.entries(query).map(([name, value]) => [name, String(value)]);
    const body = Readable.toWeb(archive);
    const response = await this.#ask("PUT", `/seed?${new URLSearchParams(words)}`, body, null);
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
    return answer.parse(await (await this.#ask(method, path, text, timeoutMs)).json());
  }

  async #stream(path: string): Promise<Readable> {
    const response = await this.#ask("GET", path, undefined, null);
    return response.body === null ? Readable.from([]) : Readable.fromWeb(response.body as ReadableStream);
  }

  async #ask(
    method: string,
    path: string,
    body: string | ReadableStream | undefined,
    timeoutMs: number | null,
  ): Promise<Response> {
    const response = await askKeeper(this.#keeper, `${this.#base}${path}`, {
      ...{ method, body },
      ...(timeoutMs === null ? {} : { signal: AbortSignal.timeout(timeoutMs) }),
    }).catch((error: Error & { cause?: Error }) => {
      throw new KeeperFailure("unreachable", `keeper ${this.name}: ${error.cause?.message ?? error.message}`);
    });
    if (response.ok) return response;
    const problem = KeeperError.safeParse(await response.json().catch(() => null));
    if (!problem.success) throw new KeeperFailure("unavailable", `keeper ${this.name} answers HTTP ${response.status}`);
    throw new KeeperFailure(problem.data.code, `keeper ${this.name}: ${problem.data.message}`);
  }
}
