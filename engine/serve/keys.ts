import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import type { EngineKey, EngineKeys } from "../../contract/engine.ts";
import type { QuerySchema } from "../../contract/query-schema.ts";
import type { Scope } from "../../query/check.ts";
import { rowFilters } from "../../query/key-filter.ts";
import { QueryProblem } from "../../query/problem.ts";

type Known = {
  scope: Scope;
  unusable: string | null;
  scopeKey: string;
  expiresAt: number | null;
  bucket: Bucket | null;
};

const MOST_SEEN = 10_000;
const BEARER = /^Bearer rxk_([A-Za-z0-9_-]{1,64})\.([A-Za-z0-9_-]{43})$/i;

/** `rxk_<id>.<hmac>` for an id. */
export function keyText(secret: string, id: string): string {
  return `rxk_${id}.${createHmac("sha256", secret).update(id).digest("base64url")}`;
}

/** Which keys there are. They are looked at here alone: nobody is asked. */
export class Keys {
  readonly #schema: QuerySchema;
  #secret = "";
  #known = new Map<string, Known>();
  /** Headers that were right before: their HMAC is not computed again. */
  readonly #seen = new Map<string, Known>();

  constructor(schema: QuerySchema, keys: EngineKeys) {
    this.#schema = schema;
    this.replace(keys);
  }

  /** Keys that are no longer among them are at once no keys any more. One with a filter that does not fit opens nothing. */
  replace({ secret, keys }: EngineKeys): void {
    const known = new Map(keys.map((key) => [key.id, this.#read(key)]));
    this.#secret = secret;
    this.#known = known;
    this.#seen.clear();
  }

  #read({ id, tables, rows, expires_at, rate }: EngineKey): Known {
    const { filters, problems } = rowFilters(this.#schema, rows);
    const seen = JSON.stringify([tables?.toSorted() ?? null, Object.entries(rows).sort()]);
    return {
      scope: { tables: tables === null ? null : new Set(tables), rows: filters },
      unusable: problems.map(({ table, problem }) => `${table}: ${problem.message}`)[0] ?? null,
      scopeKey: seen === "[null,[]]" ? "" : createHash("sha256").update(seen).digest("base64url"),
      expiresAt: expires_at,
      bucket: rate === null ? null : (this.#known.get(id)?.bucket?.as(rate) ?? new Bucket(rate)),
    };
  }

  /** What the holder may see. The answer is the same whatever is wrong with what is shown. */
  check(authorization: string | undefined): { scope: Scope; scopeKey: string } {
    const known = this.#seen.get(authorization ?? "") ?? this.#verify(authorization ?? "");
    if (known === null || (known.expiresAt !== null && known.expiresAt <= Date.now()))
      throw new QueryProblem("unauthenticated", "send Authorization: Bearer rxk_… with a key of this engine");
    if (known.unusable !== null)
      throw new QueryProblem("key_unusable", `a filter of this key does not fit this engine: ${known.unusable}`);
    const wait = known.bucket?.take() ?? 0;
    if (wait > 0)
      throw new QueryProblem("rate_limited", "this key has a rate, and it is used up", {
        retryAfterSeconds: Math.ceil(wait / 1000),
      });
    return known;
  }

  #verify(authorization: string): Known | null {
    const [, id = "", mac = ""] = BEARER.exec(authorization) ?? [];
    const wanted = Buffer.from(keyText(this.#secret, id).split(".")[1] ?? "");
    const given = Buffer.from(mac);
    const isRight = given.length === wanted.length && timingSafeEqual(given, wanted);
    const known = this.#known.get(id);
    if (!isRight || known === undefined) return null;
    // The scheme may be written in any case, so that one key has several headers: there is a most.
    if (this.#seen.size < MOST_SEEN) this.#seen.set(authorization, known);
    return known;
  }
}

/** So many requests a second, and as many at once. */
class Bucket {
  readonly #rate: number;
  #left: number;
  #at: number = performance.now();

  constructor(rate: number) {
    this.#rate = rate;
    this.#left = Math.max(1, rate);
  }

  /** The same, unless the rate is another. */
  as(rate: number): Bucket | null {
    return rate === this.#rate ? this : null;
  }

  /** Milliseconds until there is one; 0: it was taken. */
  take(): number {
    const now = performance.now();
    this.#left = Math.min(Math.max(1, this.#rate), this.#left + ((now - this.#at) / 1000) * this.#rate);
    this.#at = now;
    if (this.#left < 1) return ((1 - this.#left) / this.#rate) * 1000;
    this.#left--;
    return 0;
  }
}
