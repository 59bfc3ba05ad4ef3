import type { Level } from "../contract/event.ts";
import { accept, type Reply, refuse } from "../contract/problem.ts";
import type { Answer, Mutation } from "../contract/request.ts";
import { newest } from "./journal.ts";
import type { Migration } from "./migrate.ts";
import { once, stale } from "./request.ts";
import { StoredObject } from "./stored-object.ts";
import { isForgotten } from "./tombstone.ts";

/** What a kind of resource is: plain facts and functions, for the objects of this kind. */
export type ResourceKind<R, Viewer> = {
  /** As refusals call it. */
  noun: string;
  migrations: readonly Migration[];
  /** The resource, from tables that are there; null when there is none, or none any more. */
  load(sql: SqlStorage): R | null;
  /** Whether who asks may know of it. */
  isVisible(record: R, viewer: Viewer): boolean;
};

/**
 * An object that is one resource, named by its id: read and changed by whoever may see it, with a journal to follow, and a tombstone after
 * its end. `Viewer` is what tells who asks: the namespaces that they may see (empty: all), unless the kind says otherwise.
 */
export abstract class ResourceObject<R extends { revision: number }, Viewer = string[]> extends StoredObject {
  readonly #kind: ResourceKind<R, Viewer>;

  constructor(ctx: DurableObjectState, env: Env, kind: ResourceKind<R, Viewer>) {
    super(ctx, env, kind.migrations);
    this.#kind = kind;
  }

  /** The resource as the API answers it, JSON. */
  protected abstract view(record: R): string;

  read(viewer: Viewer): Reply<Answer> {
    const record = this.visible(viewer);
    return record.ok ? this.answer(200) : record;
  }

  /** The newest events first, as JSON texts. */
  events(viewer: Viewer, level: Level | null, limit: number): Reply<string[]> {
    const record = this.visible(viewer);
    return record.ok ? accept(newest(this.sql, level, limit)) : record;
  }

  /** Events after a seq: at once when there are any, else when one comes, or none after `waitMs`. */
  async follow(viewer: Viewer, seq: number, waitMs: number): Promise<Reply<{ seq: number; body: string }[]>> {
    const record = this.visible(viewer);
    return record.ok ? accept(await this.journalAfter(seq, waitMs)) : record;
  }

  protected load(): R | null {
    return this.isBorn ? this.#kind.load(this.sql) : null;
  }

  protected visible(viewer: Viewer): Reply<R> {
    const record = this.load();
    return record !== null && this.#kind.isVisible(record, viewer) ? accept(record) : this.unknown();
  }

  protected unknown(): Reply<never> {
    return refuse("not_found", `There is no ${this.#kind.noun} ${this.id}.`);
  }

  /** The resource as it is now. */
  protected answer(status: 200 | 201 | 202): Reply<Answer> {
    const record = this.load() as R;
    return accept({ status, body: this.view(record), revision: record.revision });
  }

  /** Brings it into being, once per Idempotency-Key; answered when all who must hear of it have, or will by themselves. */
  protected async make(mutation: Mutation, work: (now: number) => Reply<Answer>): Promise<Reply<Answer>> {
    this.bear();
    const reply = this.change((now) => once<Answer>(this.sql, mutation, now, () => work(now)));
    await this.outbox.drain();
    return reply;
  }

  /** A mutation of a resource that is there, once per Idempotency-Key. */
  protected mutate(mutation: Mutation, viewer: Viewer, work: (record: R, now: number) => Reply<Answer>): Reply<Answer> {
    if (!this.isBorn) return this.unknown();
    return this.change((now) =>
      // Around everything, so that the same request is answered the same when the resource has gone meanwhile.
      once<Answer>(this.sql, mutation, now, () => {
        const record = this.visible(viewer);
        return record.ok ? (stale(mutation, record.value.revision) ?? work(record.value, now)) : record;
      }),
    );
  }

  /** Answers the resource when it is as wanted, has gone, or the time is over. */
  protected async until(viewer: Viewer, timeoutMs: number, isSo: (record: R) => boolean): Promise<Reply<R>> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const record = this.visible(viewer);
      const left = deadline - Date.now();
      if (!record.ok || isSo(record.value) || left <= 0) return record;
      await this.watchers.next(left);
    }
  }

  protected override isForgotten(now: number): boolean {
    return isForgotten(this.sql, now);
  }
}
