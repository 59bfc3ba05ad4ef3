import { newId } from "../../contract/id.ts";
import { accept, type Reply, refuse } from "../../contract/problem.ts";
import type { Answer, Mutation } from "../../contract/request.ts";
import type { Principal, ScopeName } from "../../contract/scope.ts";
import {
  type Credentials,
  ROLE_SCOPES,
  SESSION_MOST_MS,
  type UserCreate,
  type UserUpdate,
} from "../../contract/user.ts";
import user0001 from "../../migrations/user/0001_create.sql";
import { post } from "../outbox.ts";
import { audit, type By, project } from "../projection.ts";
import { remote } from "../remote.ts";
import { once, stale } from "../request.ts";
import { StoredObject } from "../stored-object.ts";
import { becomeFamiliar, begin, subjectsOf, succeed } from "./attempts.ts";
import { drop, endAll, isEnding, own } from "./credentials.ts";
import { keepsAnAdmin, permitChange, permitCreation, permitDeletion } from "./decide.ts";
import { HashingQueue, hashPassword, isOutdated, isPassword, nobodys } from "./password.ts";
import {
  answerOf,
  auditEntry,
  indexRow,
  named,
  type Opened,
  one,
  otherAdmins,
  save,
  type UserRecord,
  view,
} from "./record.ts";

const MIGRATIONS = [{ id: "user/0001", sql: user0001 }];
/** A password takes a fifth of a second: who would wait longer than some seconds comes back later. */
const HASHED_IN_A_ROW = 16;

/**
 * All users. One object, since a username is one person's and there must always be an admin: both are rules about all of them. Who is
 * logged in is not asked here: sessions are TokenObjects.
 */
export class UserDirectoryObject extends StoredObject {
  readonly #hashing = new HashingQueue(HASHED_IN_A_ROW);

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env, MIGRATIONS);
  }

  /** Whether these are a user's: then a session may be made. `address` is where the client is, when that is known. */
  async login({ username, password }: Credentials, address: string | null, requestId: string): Promise<Reply<Opened>> {
    if (this.#hashing.isFull) return busy();
    const { reply, subjects, user } = this.change((now) => {
      const found = named(this.sql, username);
      const counted = subjectsOf(this.sql, username, found?.id ?? null, address);
      return { reply: begin(this.sql, counted, now), subjects: counted, user: found };
    });
    if (!reply.ok) return reply;
    const isRight = await this.#hashing.run(() => isPassword(user?.password ?? nobodys(), password));
    if (!user || !isRight) return refuse("invalid_credentials", "invalid credentials");
    const fresh = isOutdated(user.password) ? await this.#hashing.run(() => hashPassword(password)) : user.password;
    return this.change((now) => {
      const present = one(this.sql, user.id);
      // While the password was checked, it may have been changed, or the user deleted.
      if (present?.password !== user.password || present.username === null)
        return refuse("invalid_credentials", "invalid credentials");
      succeed(this.sql, subjects);
      becomeFamiliar(this.sql, user.id, address, now);
      const next = { ...present, password: fresh, login_at: now, version: present.version + 1 };
      const by = { actor: user.id, request_id: requestId };
      this.#save(next, { action: "login", before: next.revision, by, username: present.username }, now);
      const token_id = newId("token", now);
      const expires_at = now + SESSION_MOST_MS;
      own(this.sql, { token_id, user_id: user.id, session: true, expires_at }, now);
      return accept({ user: view(next), token_id, expires_at });
    });
  }

  /** Notes that a token is a user's, before it is made: it ends with the user's role. */
  own(
    userId: string,
    tokenId: string,
    { scopes, expires_at }: { scopes: ScopeName[]; expires_at: number | null },
  ): Reply<null> {
    return this.change((now) => {
      const user = one(this.sql, userId);
      const allowed = user && user.username !== null ? ROLE_SCOPES[user.role] : [];
      // The session that asks may have ended a moment ago, and still be believed where it was asked.
      if (!allowed.includes("admin") && scopes.some((scope) => !allowed.includes(scope)))
        return refuse("unauthenticated", "Your session has ended.");
      own(this.sql, { token_id: tokenId, user_id: userId, session: false, expires_at }, now);
      return accept(null);
    });
  }

  async create(draft: UserCreate, mutation: Mutation, by: Principal): Promise<Reply<Answer>> {
    const permitted = permitCreation(by, draft.role);
    if (!permitted.ok) return permitted;
    if (this.#hashing.isFull) return busy();
    const password = await this.#hashing.run(() => hashPassword(draft.password));
    return this.change((now) =>
      once(this.sql, mutation, now, () => {
        if (named(this.sql, draft.username)) return taken(draft.username);
        const user: UserRecord = {
          id: newId("user", now),
          username: draft.username,
          role: draft.role,
          password,
          created_at: now,
          updated_at: null,
          login_at: null,
          revision: 1,
          version: 1,
        };
        this.#save(user, { action: "create", before: null, by: mutation, username: draft.username }, now);
        return answerOf(user, 201);
      }),
    );
  }

  read(id: string): Reply<Answer> {
    const user = this.#present(id);
    return user.ok ? answerOf(user.value) : user;
  }

  /** A new role ends everything the user has; a new password every session but the one that asks. */
  async update(id: string, change: UserUpdate, mutation: Mutation, by: Principal): Promise<Reply<Answer>> {
    const permitted = permitChange(by, id, change);
    if (!permitted.ok) return permitted;
    if (change.password != null && this.#hashing.isFull) return busy();
    const text = change.password;
    const password = text == null ? null : await this.#hashing.run(() => hashPassword(text));
    const reply = this.#mutation(id, mutation, (user, now) => {
      const username = change.username ?? user.username;
      const role = change.role ?? user.role;
      if (username.toLowerCase() !== user.username.toLowerCase() && named(this.sql, username)) return taken(username);
      const kept = keepsAnAdmin(user.role, role, otherAdmins(this.sql, id));
      if (!kept.ok) return kept;
      const changed = username !== user.username || role !== user.role || password !== null;
      if (!changed) return answerOf(user);
      const next: UserRecord = {
        ...user,
        username,
        role,
        password: password ?? user.password,
        updated_at: now,
        revision: user.revision + 1,
        version: user.version + 1,
      };
      const action = role !== user.role ? "set_role" : password !== null ? "set_password" : "update";
      this.#save(next, { action, before: user.revision, by: mutation, username }, now);
      if (role !== user.role) endAll(this.sql, id, { sessionsOnly: false, but: null }, now);
      else if (password !== null) endAll(this.sql, id, { sessionsOnly: true, but: by.token_id }, now);
      return answerOf(next);
    });
    // What ends has ended when the answer goes out.
    if (reply.ok) await this.outbox.drain();
    return reply;
  }

  async delete(id: string, mutation: Mutation, by: Principal): Promise<Reply<Answer>> {
    const permitted = permitDeletion(by, id);
    if (!permitted.ok) return permitted;
    const reply = this.#mutation(id, mutation, (user, now) => {
      const kept = keepsAnAdmin(user.role, null, otherAdmins(this.sql, id));
      if (!kept.ok) return kept;
      const gone: UserRecord = { ...user, username: null, password: "", version: user.version + 1 };
      this.#save(gone, { action: "delete", before: user.revision, by: mutation, username: user.username }, now);
      endAll(this.sql, id, { sessionsOnly: false, but: null }, now);
      this.sql.exec("DELETE FROM familiar WHERE user_id = ?", id);
      return accept({ status: 204, body: "", revision: user.revision });
    });
    if (reply.ok) await this.outbox.drain();
    return reply;
  }

  protected override async deliver(key: string): Promise<void> {
    const [what, id] = key.split(" ") as ["index" | "end", string];
    if (what === "end") {
      if (!isEnding(this.sql, id)) return;
      await remote(this.env.TOKEN, id).end({ actor: "users", request_id: "" });
      return drop(this.sql, id);
    }
    const user = one(this.sql, id);
    if (!user) return;
    await project(this.sql, this.env.INDEX, indexRow(user));
    this.sql.exec("DELETE FROM user WHERE id = ? AND username IS NULL", id);
  }

  #present(id: string): Reply<UserRecord & { username: string }> {
    const user = this.isBorn ? one(this.sql, id) : null;
    return user && user.username !== null
      ? accept({ ...user, username: user.username })
      : refuse("not_found", `There is no user ${id}.`);
  }

  #mutation(
    id: string,
    mutation: Mutation,
    work: (user: UserRecord & { username: string }, now: number) => Reply<Answer>,
  ): Reply<Answer> {
    if (!this.isBorn) return refuse("not_found", `There is no user ${id}.`);
    return this.change((now) =>
      once(this.sql, mutation, now, () => {
        const user = this.#present(id);
        return user.ok ? (stale(mutation, user.value.revision) ?? work(user.value, now)) : user;
      }),
    );
  }

  /** Whatever is written brings it into being. */
  protected override change<T>(work: (now: number) => T): T {
    this.bear();
    return super.change(work);
  }

  #save(
    user: UserRecord,
    done: { action: string; before: number | null; by: By; username: string },
    now: number,
  ): void {
    save(this.sql, user);
    audit(this.sql, auditEntry(user, done.username, done.action, done.before, done.by, now));
    post(this.sql, `index ${user.id}`, now);
  }
}

const taken = (username: string): Reply<never> =>
  refuse("name_taken", `There is a user ${JSON.stringify(username)} already.`);

const busy = (): Reply<never> => refuse("overloaded", "Too many passwords are being checked just now.");
