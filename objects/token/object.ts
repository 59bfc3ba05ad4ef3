import { accept, type Reply, refuse } from "../../contract/problem.ts";
import { type Answer, IDEMPOTENCY_KEPT_MS, type Mutation } from "../../contract/request.ts";
import type { Principal } from "../../contract/scope.ts";
import token0001 from "../../migrations/token/0001_create.sql";
import token0002 from "../../migrations/token/0002_session.sql";
import { setTimer } from "../alarm.ts";
import { post } from "../outbox.ts";
import { audit, type By, project } from "../projection.ts";
import { forgetRequests, once, stale } from "../request.ts";
import { StoredObject, type Timer } from "../stored-object.ts";
import { claim, prune } from "./creation.ts";
import { governed, seen } from "./reach.ts";
import {
  answerOf,
  auditEntry,
  ended,
  forgetAt,
  indexRow,
  isOver,
  isStaleUse,
  isUsable,
  type Joined,
  load,
  save,
  type TokenDraft,
  type TokenRecord,
  type Verified,
  verified,
} from "./record.ts";
import { newSecret } from "./secret.ts";
import { takeUse } from "./uses.ts";

const MIGRATIONS = [
  { id: "token/0001", sql: token0001 },
  { id: "token/0002", sql: token0002 },
];
const DAY_MS = 86_400_000;
const UNUSED = { last_used_at: null, revoked_at: null, revision: 1, version: 1 };

/**
 * One token. Named by its id. It also remembers which tokens it created under an Idempotency-Key; the object named `root` does that for the
 * root token, keeps the mint's key, and is no token itself.
 */
export class TokenObject extends StoredObject {
  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env, MIGRATIONS);
  }

  /** Who presents this secret, or null: unknown, wrong, revoked and expired are not told apart. Writes nothing. */
  verify(hash: string): Verified | null {
    const token = this.#load();
    return token && verified(this.id, token, hash, Date.now());
  }

  /** Notes that it was used, at most once a minute. The revision stays: nobody changed the token. */
  touch(): void {
    this.change((now) => {
      const token = this.#load();
      if (token && isStaleUse(token, now)) this.#save({ ...token, last_used_at: now, version: token.version + 1 }, now);
    });
  }

  /** The id of the token that this one is creating under an Idempotency-Key: the same for the same request. */
  claim(key: string, fingerprint: string): Reply<string> {
    return this.change((now) => {
      setTimer(this.sql, "prune", now + IDEMPOTENCY_KEPT_MS);
      return claim(this.sql, key, fingerprint, now);
    });
  }

  /** The key of the marks in what this control plane hands out (only the object named `root` is asked); drawn when first asked for. */
  mintKey(): string {
    return this.change(() => {
      this.sql.exec("INSERT INTO mint VALUES (1, ?) ON CONFLICT (one) DO NOTHING", newSecret());
      return this.sql.exec<{ key: string }>("SELECT key FROM mint").one().key;
    });
  }

  /** Makes the token. The body is its view, with `sealed` of the request that really made it. */
  create({ sealed, ...draft }: TokenDraft, mutation: Mutation): Reply<Answer> {
    return this.change((now) =>
      this.#once(mutation, now, () => {
        // The same creation again, without a key: a call that was repeated because its answer was lost.
        const made = this.#load();
        if (!made && this.#isBarred()) return refuse("unauthenticated", "Your own token has ended.");
        if (made && made.hash !== draft.hash) return refuse("name_taken", `There is a token ${this.id} already.`);
        const token: TokenRecord = made ?? { ...draft, ...UNUSED, created_at: now };
        // A session's beginning is in the trail as its user's login.
        const done = { action: "create", before: null, by: mutation };
        if (!made) this.#save(token, now, token.kind === "session" ? undefined : done);
        return answerOf(this.id, token, 201, sealed);
      }),
    );
  }

  read(by: Principal): Reply<Answer> {
    const token = seen(by, this.id, this.#load());
    return token.ok ? answerOf(this.id, token.value, 200) : token;
  }

  /** Ends it. Revoked already: success without work. */
  revoke(mutation: Mutation, by: Principal): Reply<Answer> {
    return this.#changeAs(by, mutation, (token, now) => {
      const changed = token.revoked_at === null;
      const revoked = changed ? this.#renew(token, { revoked_at: now }, "revoke", mutation, now) : token;
      return accept({ status: 204, body: "", revision: revoked.revision });
    });
  }

  /** Ends it on behalf of who presents it. */
  logout(by: By): void {
    this.#end("logout", by);
  }

  /** Ends it because its user may no longer do what it says; one that is still being made will not be. */
  end(by: By): void {
    if (this.#load()) this.#end("revoke", by);
    else this.#bar();
  }

  #bar(): void {
    this.change((now) => {
      this.sql.exec("INSERT INTO barred VALUES (1, ?) ON CONFLICT (one) DO NOTHING", now);
      setTimer(this.sql, "forget", now + DAY_MS);
    });
  }

  /** Gives it another secret; the one before is worth nothing from now on. */
  rotate({ hash, sealed }: { hash: string; sealed: string | null }, mutation: Mutation, by: Principal): Reply<Answer> {
    return this.#changeAs(by, mutation, (token, now) => {
      if (!isUsable(token, now)) return ended(token);
      return answerOf(this.id, this.#renew(token, { hash }, "rotate", mutation, now), 201, sealed);
    });
  }

  /** Takes one use of a join token for a host, which gets this id. The same public key again is the same use; a use is never given back. */
  join(publicKey: string, hostId: string, requestId: string): Reply<Joined> {
    return this.change((now): Reply<Joined> => {
      const token = this.#load();
      const use = takeUse(this.sql, token, publicKey, hostId, now);
      if (!use.ok) return use;
      const { host_id, uses_left } = use.value;
      const by = { actor: this.id, request_id: requestId };
      if (token && uses_left !== null) this.#renew(token, { uses_left, last_used_at: now }, "use", by, now);
      return accept({ host_id, labels: token?.labels ?? {} });
    });
  }

  protected override due({ name }: Timer, now: number): void {
    if (name === "prune") {
      // What is kept for repeated requests has served its time: encrypted secrets are among it.
      forgetRequests(this.sql, now);
      prune(this.sql, now);
    }
    if (name === "forget") {
      const token = this.#load();
      if (token) save(this.sql, { ...token, version: token.version + 1 });
      post(this.sql, "index", now);
    }
  }

  /** Its time is over, and the lists know it. */
  protected override isForgotten(now: number): boolean {
    const token = this.#load();
    const over = token === null ? this.#isBarred() : isOver(token, now);
    return over && this.sql.exec("SELECT 1 FROM outbox UNION ALL SELECT 1 FROM timer").toArray().length === 0;
  }

  #isBarred(): boolean {
    return this.sql.exec("SELECT 1 FROM barred").toArray().length > 0;
  }

  protected override async deliver(): Promise<void> {
    const token = this.#load();
    if (token) await project(this.sql, this.env.INDEX, indexRow(this.id, token, isOver(token, Date.now())));
  }

  #load(): TokenRecord | null {
    return this.isBorn ? load(this.sql) : null;
  }

  /** Whatever is written brings it into being. */
  protected override change<T>(work: (now: number) => T): T {
    this.bear();
    return super.change(work);
  }

  /** A change of a token that is there, by somebody who may. */
  #changeAs(
    by: Principal,
    mutation: Mutation,
    work: (token: TokenRecord, now: number) => Reply<Answer>,
  ): Reply<Answer> {
    const token = governed(by, this.id, this.#load());
    if (!token.ok) return token;
    return this.change((now) =>
      this.#once(mutation, now, () => stale(mutation, token.value.revision) ?? work(token.value, now)),
    );
  }

  #end(action: string, by: By): void {
    this.change((now) => {
      const token = this.#load();
      if (token && token.revoked_at === null) this.#renew(token, { revoked_at: now }, action, by, now);
    });
  }

  #once(mutation: Mutation, now: number, work: () => Reply<Answer>): Reply<Answer> {
    const reply = once(this.sql, mutation, now, work);
    if (mutation.idempotency) setTimer(this.sql, "prune", now + IDEMPOTENCY_KEPT_MS);
    return reply;
  }

  /** A change that somebody made: another revision, and an entry in the trail. */
  #renew(old: TokenRecord, change: Partial<TokenRecord>, action: string, by: By, now: number): TokenRecord {
    const token = { ...old, ...change, revision: old.revision + 1, version: old.version + 1 };
    this.#save(token, now, { action, before: old.revision, by });
    return token;
  }

  #save(token: TokenRecord, now: number, done?: { action: string; before: number | null; by: By }): void {
    save(this.sql, token);
    if (done) audit(this.sql, auditEntry(this.id, done.action, token, done.before, done.by, now));
    setTimer(this.sql, "forget", forgetAt(token));
    if (done || token.kind === "access") post(this.sql, "index", now);
  }
}
