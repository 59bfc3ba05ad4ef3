import type { HookDelivery } from "../../contract/hook.ts";
import { accept, type Reply, refuse } from "../../contract/problem.ts";
import { type Answer, IDEMPOTENCY_KEPT_MS, type Mutation } from "../../contract/request.ts";
import { permits } from "../../contract/scope.ts";
import hook0001 from "../../migrations/hook/0001_create.sql";
import { setTimer } from "../alarm.ts";
import { post } from "../outbox.ts";
import { audit, project } from "../projection.ts";
import { forgetRequests, onceTimed, stale } from "../request.ts";
import { open, seal } from "../sealing.ts";
import { StoredObject, type Timer } from "../stored-object.ts";
import { sha256Hex } from "../token/secret.ts";
import { type Push, type Read, readPush } from "./push.ts";
import { deliveriesOf, type HookConfig, type HookRecord, hookAudit, hookRow, hookView, load, save } from "./record.ts";
import { redeploy } from "./redeploy.ts";
import { deliveryIdOf, eventOf, type HookCall, isVerified, signsBodyOnly } from "./verify.ts";

const MIGRATIONS = [{ id: "hook/0001", sql: hook0001 }];
const KEPT_MS = 7 * 86_400_000;

/** The one refusal of whoever cannot show the secret, whether there is a hook or not. */
export const NOT_VERIFIED = refuse(
  "hook_not_verified",
  "There is no such hook, or the call is not signed with its secret.",
);

export type HookDraft = { config: HookConfig; secret: string };

/** One address that a registry or forge calls when something was pushed; it applies a deployment's manifest with the new image. Named by its id. */
export class HookObject extends StoredObject {
  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env, MIGRATIONS);
  }

  async create({ config, secret }: HookDraft, mutation: Mutation): Promise<Reply<Answer>> {
    const sealed = await seal(this.env, secret, this.id);
    if (!sealed.ok) return sealed;
    this.bear();
    const reply = this.change((now) =>
      onceTimed(this.sql, mutation, now, () => {
        if (load(this.sql)) return refuse("name_taken", `There is a hook ${this.id} already.`);
        const record: HookRecord = { config, sealed: sealed.value, created_at: now, revision: 1, deleted_at: null };
        save(this.sql, record);
        audit(this.sql, hookAudit(this.id, record, "create", mutation, now));
        post(this.sql, "index", now);
        return accept({ status: 201, body: JSON.stringify(hookView(this.id, record)), revision: 1 });
      }),
    );
    await this.outbox.drain();
    const kept = reply.ok ? load(this.sql) : null;
    if (!reply.ok || kept === null) return reply;
    const known = await open(this.env, kept.sealed, this.id);
    if (!known.ok) return known;
    return accept({ ...reply.value, body: JSON.stringify({ ...JSON.parse(reply.value.body), secret: known.value }) });
  }

  read(namespaces: string[]): Reply<Answer> {
    const record = this.#visible(namespaces);
    if (!record.ok) return record;
    const { revision } = record.value;
    return accept({ status: 200, body: JSON.stringify(hookView(this.id, record.value)), revision });
  }

  deliveries(namespaces: string[], limit: number): Reply<string> {
    const record = this.#visible(namespaces);
    return record.ok ? accept(JSON.stringify(deliveriesOf(this.sql, limit))) : record;
  }

  delete(mutation: Mutation, namespaces: string[]): Reply<Answer> {
    const seen = this.#permitted(namespaces);
    if (!seen.ok) return seen;
    return this.change((now) =>
      onceTimed(this.sql, mutation, now, () => {
        const record = seen.value;
        const refusal = stale(mutation, record.revision);
        if (refusal) return refusal;
        const gone = { status: 204 as const, body: "", revision: record.revision };
        if (record.deleted_at !== null) return accept(gone);
        const next = { ...record, revision: record.revision + 1, deleted_at: now };
        save(this.sql, next);
        audit(this.sql, hookAudit(this.id, next, "delete", mutation, now));
        post(this.sql, "index", now);
        setTimer(this.sql, "forget", now + IDEMPOTENCY_KEPT_MS);
        return accept(gone);
      }),
    );
  }

  /** A call from outside. Each delivery is carried out once; a repeated one is answered with what came of it. */
  async receive(call: HookCall): Promise<Reply<HookDelivery>> {
    const record = this.isBorn ? load(this.sql) : null;
    if (record === null || record.deleted_at !== null) return NOT_VERIFIED;
    const secret = await open(this.env, record.sealed, this.id);
    if (!secret.ok) return secret;
    const { source } = record.config;
    if (!(await isVerified(source, secret.value, call))) return NOT_VERIFIED;
    const ofBody = await sha256Hex(call.body);
    const id = deliveryIdOf(call.headers) ?? ofBody;
    // Where the signature is over the body alone, who has seen one cannot make another delivery of it by another id.
    const digest = signsBodyOnly(source) ? ofBody : id;
    const known = () =>
      this.sql.exec<{ id: string }>("SELECT id FROM delivery WHERE id = ? OR digest = ?", id, digest).toArray()[0]?.id;
    this.change((now) => {
      if (known() !== undefined) return;
      const read = readPush(source, eventOf(call.headers), parsed(call.body));
      this.#note(id, digest, read, now);
    });
    await this.outbox.drain();
    return accept(deliveriesOf(this.sql, 1, known() ?? id)[0] as HookDelivery);
  }

  protected override due({ name }: Timer, now: number): void {
    if (name === "prune") {
      this.sql.exec("DELETE FROM delivery WHERE at <= ?", now - KEPT_MS);
      this.#planPrune();
    }
    if (name === "requests") forgetRequests(this.sql, now);
  }

  protected override isForgotten(now: number): boolean {
    const deletedAt = load(this.sql)?.deleted_at ?? null;
    return deletedAt !== null && deletedAt <= now - IDEMPOTENCY_KEPT_MS;
  }

  #note(id: string, digest: string, read: Read, now: number): void {
    const [outcome, message, push] =
      "push" in read ? ["pending", "being applied", JSON.stringify(read.push)] : ["ignored", read.ignored, null];
    this.sql.exec(
      "INSERT INTO delivery (id, digest, at, outcome, message, push) VALUES (?, ?, ?, ?, ?, ?)",
      id,
      digest,
      now,
      outcome,
      message,
      push,
    );
    if (push !== null) post(this.sql, "pushes", now);
    this.#planPrune();
  }

  #planPrune(): void {
    const { at } = this.sql.exec<{ at: number | null }>("SELECT min(at) AS at FROM delivery").one();
    setTimer(this.sql, "prune", at === null ? null : at + KEPT_MS);
  }

  protected override async deliver(key: string): Promise<void> {
    const record = load(this.sql);
    if (!record) return;
    if (key === "index") return project(this.sql, this.env.INDEX, hookRow(this.id, record));
    return this.#applyPushes(record.config);
  }

  /** In the order in which they came: an older image must not be applied after a newer one. */
  async #applyPushes(config: HookConfig): Promise<void> {
    for (let row = this.#oldestPush(); row !== null; row = this.#oldestPush()) {
      const asker = { hook: this.id, delivery: row.id };
      const { outcome, message, image, deployment_id } = await redeploy(this.env, config, row.push, asker);
      this.sql.exec(
        "UPDATE delivery SET outcome = ?, message = ?, image = ?, deployment_id = ?, push = NULL WHERE number = ?",
        outcome,
        message,
        image,
        deployment_id,
        row.number,
      );
    }
  }

  #oldestPush(): { number: number; id: string; push: Push } | null {
    const row = this.sql
      .exec<{ number: number; id: string; push: string }>(
        "SELECT number, id, push FROM delivery WHERE outcome = 'pending' ORDER BY number LIMIT 1",
      )
      .toArray()[0];
    return row ? { ...row, push: JSON.parse(row.push) as Push } : null;
  }

  #permitted(namespaces: string[]): Reply<HookRecord> {
    const record = this.isBorn ? load(this.sql) : null;
    return record && permits({ namespaces }, record.config.namespace)
      ? accept(record)
      : refuse("not_found", `There is no hook ${this.id}.`);
  }

  #visible(namespaces: string[]): Reply<HookRecord> {
    const record = this.#permitted(namespaces);
    return record.ok && record.value.deleted_at !== null ? refuse("not_found", `There is no hook ${this.id}.`) : record;
  }
}

/** JSON, or a form whose field `payload` is JSON, as GitHub may send it; null when it is neither. */
function parsed(body: string): unknown {
  const text = body.startsWith("payload=") ? (new URLSearchParams(body).get("payload") ?? "") : body;
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
