import { ulid } from "../../contract/id.ts";
import { accept, type Reply, refuse } from "../../contract/problem.ts";
import type { Answer, Mutation } from "../../contract/request.ts";
import type { Principal } from "../../contract/scope.ts";
import { timestamp } from "../../contract/timestamp.ts";
import type { WebhookEvent } from "../../contract/webhook.ts";
import type { WebhookAction } from "../../contract/webhook-endpoint.ts";
import webhook0001 from "../../migrations/webhook/0001_create.sql";
import webhook0002 from "../../migrations/webhook/0002_dead.sql";
import { setTimer } from "../alarm.ts";
import { announce } from "../announce.ts";
import { append } from "../journal.ts";
import { post } from "../outbox.ts";
import { audit, type IndexRow, project } from "../projection.ts";
import { forgetRequests, onceTimed, stale } from "../request.ts";
import { type ResourceKind, ResourceObject } from "../resource-object.ts";
import { seal } from "../sealing.ts";
import type { Timer } from "../stored-object.ts";
import { covers } from "../token/reach.ts";
import { allowed, answerOf, withSecret } from "./answer.ts";
import { type Asked, afterAttempt, decideEndpoint, WELL } from "./decide.ts";
import { Flights } from "./flights.ts";
import { Gathering } from "./gathering.ts";
import {
  attempts,
  deliveries,
  deliveryTally,
  enqueue,
  hasten,
  insertPing,
  isKnown,
  KEPT_MS,
  prune,
  requeue,
  settle,
  type Which,
} from "./queue.ts";
import {
  entry,
  load,
  signing,
  type WebhookConfig,
  type WebhookRecord,
  webhookAudit,
  webhookRow,
  webhookSource,
  webhookView,
} from "./record.ts";
import { dropSecrets, note, renew, write } from "./revision.ts";
import { planPrune, planQueue, planSecrets, planTally } from "./timers.ts";

const WEBHOOK: ResourceKind<WebhookRecord, Principal> = {
  noun: "webhook",
  migrations: [
    { id: "webhook/0001", sql: webhook0001 },
    { id: "webhook/0002", sql: webhook0002 },
  ],
  load,
  // What may tell of other namespaces is as if it were not there.
  isVisible: ({ config }, by) => covers(by, config.namespaces),
};

export type WebhookDraft = { config: WebhookConfig; secret: string };

/** One endpoint: what it wants, its queue, and the attempts. Named by its id. Announcements enqueue; it delivers, each resource's events in order. */
export class WebhookObject extends ResourceObject<WebhookRecord, Principal> {
  readonly #gathering = new Gathering((work) => this.change(work));
  readonly #flights = new Flights({
    id: this.id,
    env: this.env,
    sql: this.sql,
    load: () => this.load(),
    change: (work) => this.#gathering.add(work),
    note: (record, decision, now) => {
      note(this.sql, this.id, record, decision, now);
      planTally(this.sql, now);
    },
    waitUntil: (promise) => this.ctx.waitUntil(promise),
  });

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env, WEBHOOK);
  }

  protected override view(record: WebhookRecord): string {
    return JSON.stringify(webhookView(this.sql, this.id, record, Date.now()));
  }

  /** Makes the endpoint, and answers its secret. When it answers, no later event misses it. */
  async create({ config, secret }: WebhookDraft, mutation: Mutation): Promise<Reply<Answer>> {
    const sealed = await seal(this.env, secret, this.id);
    if (!sealed.ok) return sealed;
    this.bear();
    const reply = this.change((now) =>
      onceTimed(this.sql, mutation, now, () => {
        if (this.load()) return refuse("name_taken", `There is a webhook ${this.id} already.`);
        const record: WebhookRecord = {
          config,
          state: WELL,
          secrets: [{ sealed: sealed.value, until: null }],
          created_at: now,
          updated_at: now,
          revision: 1,
        };
        write(this.sql, this.id, record, [entry("webhook_created", `sends to ${config.url}`)], mutation.actor, now);
        audit(this.sql, webhookAudit(this.id, record, "create", null, mutation, now));
        return answerOf(this.sql, this.id, record, 201, sealed.value);
      }),
    );
    await this.#listed();
    return withSecret(this.env, this.id, reply);
  }

  /** Changes what it wants, and whether it is enabled. */
  async update(
    change: Partial<WebhookConfig>,
    status: "active" | "disabled" | null,
    mutation: Mutation,
    by: Principal,
  ): Promise<Reply<Answer>> {
    const reply = this.#act(mutation, by, "update", (record, now) => {
      const config = { ...record.config, ...change };
      const asked: Asked | null = status === null ? null : { type: status === "active" ? "enable" : "disable" };
      const decision = asked && decideEndpoint(record.state, asked, now);
      const changed = JSON.stringify(config) !== JSON.stringify(record.config);
      if (!changed && decision === null) return answerOf(this.sql, this.id, record, 200);
      const entries = [
        ...(changed ? [entry("webhook_updated", "what it wants was changed")] : []),
        ...(decision?.entries ?? []),
      ];
      const next = { ...record, config, state: decision?.state ?? record.state };
      const written = renew(this.sql, this.id, record, next, entries, "update", mutation, now);
      if (asked?.type === "enable") hasten(this.sql, now);
      return answerOf(this.sql, this.id, written, 200);
    });
    await this.#listed();
    return reply;
  }

  /** Ends it. It stays listed for a week. */
  async revoke(mutation: Mutation, by: Principal): Promise<Reply<Answer>> {
    const reply = this.#act(mutation, by, "delete", (record, now) => {
      const decision = decideEndpoint(record.state, { type: "delete" }, now);
      let { revision } = record;
      if (decision) {
        const next = { ...record, state: decision.state, secrets: [] };
        revision = renew(this.sql, this.id, record, next, decision.entries, "delete", mutation, now).revision;
        this.sql.exec("DELETE FROM event WHERE status = 'pending'");
        setTimer(this.sql, "forget", now + KEPT_MS);
      }
      return accept({ status: 204, body: "", revision });
    });
    await this.#listed();
    return reply;
  }

  /** Another secret; the one before signs as well for `overlapMs`. */
  async rotate(secret: string, overlapMs: number, mutation: Mutation, by: Principal): Promise<Reply<Answer>> {
    const sealed = await seal(this.env, secret, this.id);
    if (!sealed.ok) return sealed;
    const reply = this.#act(mutation, by, "rotate_secret", (record, now) => {
      const old = signing(record, now).map((one) => ({
        ...one,
        until: Math.min(one.until ?? Infinity, now + overlapMs),
      }));
      const secrets = [{ sealed: sealed.value, until: null }, ...old.filter(({ until }) => until > now)];
      const told = entry(
        "secret_rotated",
        `a new secret signs; ${secrets.length - 1} older sign until their time is over`,
      );
      const written = renew(this.sql, this.id, record, { ...record, secrets }, [told], "rotate", mutation, now);
      planSecrets(this.sql, written.secrets);
      return answerOf(this.sql, this.id, written, 201, sealed.value);
    });
    return withSecret(this.env, this.id, reply);
  }

  /** Takes events into the queue; those that it knows already are the same ones. One that is not active takes none. */
  enqueue(events: WebhookEvent[]): Promise<void> {
    return this.#gathering.add((now) => {
      const record = this.load();
      if (record?.state.status !== "active") return;
      enqueue(this.sql, events, record.config.format, now);
      planPrune(this.sql, now);
      planTally(this.sql, now);
    });
  }

  /** Sends one event of no resource, once, and answers what came of it. */
  async ping(mutation: Mutation, by: Principal): Promise<Reply<string>> {
    const record = allowed(this.visible(by), "ping");
    if (!record.ok) return record;
    const { config } = record.value;
    const now = Date.now();
    const event: WebhookEvent = {
      id: `${this.id}:ping-${ulid(now)}`,
      type: "webhook.ping",
      timestamp: timestamp(now),
      resource: this.id,
      namespace: null,
      labels: {},
      data: { schema_version: 1, webhook_id: this.id, name: config.url, actor: mutation.actor },
    };
    const queued = this.change(() => insertPing(this.sql, event, config.format, now));
    const attempted = await this.#flights.attempt(record.value, queued);
    this.change((at) => {
      settle(this.sql, queued, attempted, { status: attempted.outcome === "delivered" ? "delivered" : "dead" }, at);
      const present = this.load();
      if (attempted.outcome === "delivered" && present?.state.status === "active" && present.state.failures > 0) {
        note(
          this.sql,
          this.id,
          present,
          afterAttempt(present.state, 0, { type: "delivered" }, { now: at, jitter: 0 }),
          at,
        );
        hasten(this.sql, at);
      }
      planPrune(this.sql, at);
      planTally(this.sql, at);
    });
    return accept(JSON.stringify(attempts(this.sql, 1, queued.id)[0]));
  }

  /** Makes events pending again that are done with. Answers how many. */
  redeliver(which: Which, mutation: Mutation, by: Principal): Reply<Answer> {
    return this.#act(mutation, by, "redeliver", (record, now) => {
      if ("event_id" in which && !isKnown(this.sql, which.event_id))
        return refuse("not_found", `There is no event ${which.event_id} in this webhook's last 7 days.`);
      const redelivered = requeue(this.sql, which, now);
      planTally(this.sql, now);
      const why = { ...entry("redelivery_requested", `${redelivered} events are sent again`), data: { redelivered } };
      if (redelivered > 0)
        append(this.sql, why, { resourceId: this.id, actor: mutation.actor, revision: record.revision, now });
      return accept({ status: 200, body: JSON.stringify({ redelivered }), revision: record.revision });
    });
  }

  deliveries(by: Principal, limit: number, status: string | null, id: string | null): Reply<string> {
    const record = this.visible(by);
    return record.ok ? accept(JSON.stringify(deliveries(this.sql, limit, status, id))) : record;
  }

  attempts(by: Principal, limit: number, eventId: string | null): Reply<string> {
    const record = this.visible(by);
    return record.ok ? accept(JSON.stringify(attempts(this.sql, limit, eventId))) : record;
  }

  protected override due({ name }: Timer, now: number): void {
    if (name === "prune") {
      if (prune(this.sql, now)) planPrune(this.sql, now);
      post(this.sql, "index", now);
    }
    if (name === "tally") post(this.sql, "index", now);
    if (name === "secrets") dropSecrets(this.sql, this.id, this.load(), now);
    if (name === "requests") forgetRequests(this.sql, now);
    if (name === "forget") {
      post(this.sql, "index", now);
      // Set again until it is gone.
      setTimer(this.sql, "forget", now + 3_600_000);
    }
  }

  /** Its time is over, and the lists know it. */
  protected override isForgotten(now: number): boolean {
    const record = this.load();
    const untold =
      "SELECT 1 FROM outbox WHERE key = 'index' UNION ALL SELECT 1 FROM timer WHERE name = 'forget' AND due_at <= ?";
    return record !== null && isOver(record, now) && this.sql.exec(untold, now).toArray().length === 0;
  }

  protected override async deliver(key: string): Promise<void> {
    const record = this.load();
    if (!record) return;
    if (key === "announce") return announce(this.sql, this.env, webhookSource(this.id, record));
    return project(this.sql, this.env.INDEX, this.#row(record), deliveryTally(this.sql));
  }

  /** Whoever announces finds it, or finds it no more: only then is the change answered. */
  async #listed(): Promise<void> {
    const record = this.load();
    if (record) await project(this.sql, this.env.INDEX, this.#row(record));
  }

  #row(record: WebhookRecord): IndexRow {
    const now = Date.now();
    return webhookRow(record, webhookView(this.sql, this.id, record, now), isOver(record, now));
  }

  #act(
    mutation: Mutation,
    by: Principal,
    action: WebhookAction,
    work: (record: WebhookRecord, now: number) => Reply<Answer>,
  ): Reply<Answer> {
    const seen = this.visible(by);
    if (!seen.ok) return seen;
    return this.change((now) =>
      onceTimed(this.sql, mutation, now, () => {
        const record = allowed(this.visible(by), action);
        return record.ok ? (stale(mutation, record.value.revision) ?? work(record.value, now)) : record;
      }),
    );
  }

  protected override change<T>(work: (now: number) => T): T {
    return super.change((now) => {
      const done = work(now);
      planQueue(this.sql, this.load()?.state, now);
      return done;
    });
  }

  /** What is due by it flies. */
  protected override afterCommit(): void {
    this.#flights.start(Date.now());
    super.afterCommit();
  }
}

const isOver = ({ state }: WebhookRecord, now: number): boolean =>
  state.status === "revoked" && state.at <= now - KEPT_MS;
