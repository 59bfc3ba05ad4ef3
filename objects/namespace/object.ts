import { DurableObject } from "cloudflare:workers";
import type { DeploymentIdentity, DeploymentView } from "../../contract/deployment.ts";
import { deploymentView } from "../../contract/deployment-view.ts";
import { newId } from "../../contract/id.ts";
import type { Manifest } from "../../contract/manifest.ts";
import { accept, type Reply } from "../../contract/problem.ts";
import type { Answer, Mutation } from "../../contract/request.ts";
import namespace0001 from "../../migrations/namespace/0001_create.sql";
import { commit, rearm } from "../alarm.ts";
import { isBorn } from "../born.ts";
import { initial } from "../deployment/decide.ts";
import { factsOf } from "../deployment/record.ts";
import { migrate } from "../migrate.ts";
import { Outbox, post } from "../outbox.ts";
import { remote } from "../remote.ts";
import { once, stale } from "../request.ts";
import { type Active, type Verdict, verdictOf } from "./decide.ts";

const MIGRATIONS = [{ id: "namespace/0001", sql: namespace0001 }];

export type Apply = { manifest: Manifest; mutation: Mutation; dryRun: boolean };
export type Applied = Answer & { unchanged: boolean };

/** One namespace: which deployment holds which name. It is asked on apply and on delete, never while a deployment lives. Named by the namespace. */
export class NamespaceObject extends DurableObject<Env> {
  readonly #sql = this.ctx.storage.sql;
  /** Whether its tables are there; asking SQLite each time would cost more than most reads. */
  #born: boolean;
  readonly #outbox = new Outbox(this.ctx.storage, (key) => this.#deliver(key));

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#born = isBorn(this.#sql);
    if (this.#born) migrate(ctx.storage, MIGRATIONS);
  }

  #bear(): void {
    if (!this.#born) migrate(this.ctx.storage, MIGRATIONS);
    this.#born = true;
  }

  /**
   * Makes a manifest true under its name: a new deployment (201), one that takes over from another (201), or the one that is there already
   * (200, `unchanged`). The body is the deployment's view. The same Idempotency-Key answers the same body.
   */
  async apply({ manifest, mutation, dryRun }: Apply): Promise<Reply<Applied>> {
    for (;;) {
      const active = await this.#active(manifest.name);
      const verdict = verdictOf(manifest, active);
      if (dryRun) {
        const refusal = stale(mutation, active?.revision ?? 0);
        return (
          refusal ??
          accept({
            status: 200,
            revision: active?.revision ?? 0,
            unchanged: verdict.action === "unchanged",
            body: dryRunBody(verdict, manifest),
          })
        );
      }
      this.#bear();
      // While the holder was asked, another apply may have taken the name.
      const reply = commit(this.ctx.storage, () =>
        this.#claimOf(manifest.name) === (active?.id ?? null)
          ? this.#decided(manifest, mutation, active, verdict)
          : null,
      );
      if (reply === null) continue;
      await this.#outbox.drain();
      if (!reply.ok) return reply;
      if (reply.value.status === 200) {
        const present = await remote(this.env.DEPLOYMENT, reply.value.body).reapplied(mutation.actor);
        return present.ok ? accept({ ...present.value, unchanged: true }) : present;
      }
      return accept({ ...reply.value, unchanged: false });
    }
  }

  /** The deployment no longer holds its name, and is known to its own object. */
  release(name: string, deploymentId: string): void {
    if (!this.#born) return;
    commit(this.ctx.storage, () => {
      this.#sql.exec("DELETE FROM claim WHERE name = ? AND deployment_id = ?", name, deploymentId);
      this.#sql.exec("DELETE FROM creation WHERE deployment_id = ?", deploymentId);
      this.#sql.exec("DELETE FROM replacement WHERE deployment_id = ?", deploymentId);
    });
  }

  override async alarm(): Promise<void> {
    if (!this.#born) return;
    try {
      await this.#outbox.drain();
    } finally {
      rearm(this.ctx.storage);
    }
  }

  /** The answer to keep: 201 with the body, or 200 with the id of the deployment that stays as it is. */
  #decided(manifest: Manifest, mutation: Mutation, active: Active | null, verdict: Verdict): Reply<Answer> {
    const now = Date.now();
    return once(this.#sql, mutation, now, () => {
      const refusal = stale(mutation, active?.revision ?? 0);
      if (refusal) return refusal;
      if (verdict.action === "unchanged")
        return accept({ status: 200, body: verdict.id, revision: active?.revision ?? 0 });
      const identity: DeploymentIdentity = {
        id: newId("deployment", now),
        created_at: now,
        manifest,
        replaces: verdict.action === "replace" ? verdict.id : null,
      };
      this.#sql.exec("INSERT OR REPLACE INTO claim VALUES (?, ?)", manifest.name, identity.id);
      this.#sql.exec(
        "INSERT INTO creation VALUES (?, ?, ?, ?)",
        identity.id,
        JSON.stringify(identity),
        mutation.actor,
        mutation.request_id,
      );
      post(this.#sql, `create ${identity.id}`, now);
      if (verdict.action === "replace") {
        this.#sql.exec(
          "INSERT OR REPLACE INTO replacement VALUES (?, ?, ?, ?)",
          verdict.id,
          identity.id,
          mutation.actor,
          mutation.request_id,
        );
        post(this.#sql, `replace ${verdict.id}`, now);
      }
      return accept({ status: 201, body: JSON.stringify(firstView(identity)), revision: 1 });
    });
  }

  async #deliver(key: string): Promise<void> {
    const [what, id] = key.split(" ") as ["create" | "replace", string];
    const deployment = remote(this.env.DEPLOYMENT, id);
    if (what === "create") {
      const row = this.#sql
        .exec<{ identity: string; actor: string; request_id: string }>(
          "SELECT identity, actor, request_id FROM creation WHERE deployment_id = ?",
          id,
        )
        .toArray()[0];
      if (!row) return;
      await deployment.create(JSON.parse(row.identity) as DeploymentIdentity, row.actor, row.request_id);
      this.#sql.exec("DELETE FROM creation WHERE deployment_id = ?", id);
    } else {
      const row = this.#sql
        .exec<{ by_id: string; actor: string; request_id: string }>(
          "SELECT by_id, actor, request_id FROM replacement WHERE deployment_id = ?",
          id,
        )
        .toArray()[0];
      if (!row) return;
      await deployment.delete({ actor: row.actor, request_id: row.request_id, if_match: null, idempotency: null }, [], {
        level: "warning",
        component: "api",
        reason: "force_replace",
        message: `replaced by ${row.by_id}: another manifest was applied to its name`,
      });
      this.#sql.exec("DELETE FROM replacement WHERE deployment_id = ?", id);
    }
  }

  #claimOf(name: string): string | null {
    return (
      this.#sql.exec<{ deployment_id: string }>("SELECT deployment_id FROM claim WHERE name = ?", name).toArray()[0]
        ?.deployment_id ?? null
    );
  }

  async #active(name: string): Promise<Active | null> {
    const id = this.#born ? this.#claimOf(name) : null;
    if (id === null) return null;
    const peek = await remote(this.env.DEPLOYMENT, id).peek();
    if (peek) return { id, status: peek.state.status, manifest: peek.manifest, revision: peek.revision };
    // Claimed, but its object does not know it: not made yet, or purged already.
    const row = this.#sql
      .exec<{ identity: string }>("SELECT identity FROM creation WHERE deployment_id = ?", id)
      .toArray()[0];
    const { manifest } = row ? (JSON.parse(row.identity) as DeploymentIdentity) : { manifest: null };
    return manifest
      ? { id, status: "pending", manifest, revision: 1 }
      : { id, status: "deleted", manifest: null, revision: 0 };
  }
}

/** What the DeploymentObject will make of the same identity: so the answer of a creation is known, and kept, before its object is asked. */
function firstView(identity: DeploymentIdentity): DeploymentView {
  const { state, entries } = initial(factsOf(identity, 0, identity.created_at));
  return deploymentView(identity, state, {
    revision: 1,
    updated_at: identity.created_at,
    event_cursor: entries.length,
  });
}

const dryRunBody = (verdict: Verdict, manifest: Manifest): string =>
  JSON.stringify({
    dry_run: true,
    action: verdict.action,
    ...("id" in verdict ? { deployment_id: verdict.id } : {}),
    manifest: withoutPassword(manifest),
  });

const withoutPassword = (manifest: Manifest): Manifest =>
  manifest.config?.password == null ? manifest : { ...manifest, config: { ...manifest.config, password: null } };
