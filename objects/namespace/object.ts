import type { DeploymentIdentity, DeploymentView } from "../../contract/deployment.ts";
import { deploymentView } from "../../contract/deployment-view.ts";
import { newId } from "../../contract/id.ts";
import type { Manifest } from "../../contract/manifest.ts";
import { accept, type Reply, refuse } from "../../contract/problem.ts";
import type { Answer, Mutation } from "../../contract/request.ts";
import type { RevisionView, RolloutReport } from "../../contract/rollout.ts";
import { commit, isPostponed, rearm } from "../alarm.ts";
import { isBorn } from "../born.ts";
import { initial } from "../deployment/decide.ts";
import { factsOf } from "../deployment/record.ts";
import { migrate } from "../migrate.ts";
import { Outbox } from "../outbox.ts";
import { remote } from "../remote.ts";
import { forgetRequest, once, stale } from "../request.ts";
import type { ScheduleApply } from "../schedule/object.ts";
import {
  addAmendment,
  addCreation,
  addReplacement,
  amendmentOf,
  claim,
  creationOf,
  forget,
  giveUp,
  holderOf,
  replacedEntry,
  replacementOf,
  takeLeftovers,
} from "./claim.ts";
import { type Active, type Verdict, verdictOf } from "./decide.ts";
import { ensure, mayNotCreate } from "./existence.ts";
import { MIGRATIONS } from "./migrations.ts";
import { nameHolder, takeName } from "./name-claim.ts";
import { forgetReferences, remember } from "./reference.ts";
import { sealRegistryPassword } from "./registry-password.ts";
import { rehearsal } from "./rehearsal.ts";
import type { Head } from "./resource.ts";
import { deliverResource, NamespaceResources } from "./resources.ts";
import { addRevision, revisionsOf, revisionToGoBackTo, revisionView, settleRevision } from "./revision.ts";

/**
 * `cause` is what the revision says of why; `force` replaces at once; `holder`: only if this deployment holds the name.
 */
export type Apply = {
  manifest: Manifest;
  mutation: Mutation;
  dryRun: boolean;
  force?: boolean;
  cause?: string;
  holder?: string;
  /** The schedule that this is a run of; a run takes nobody else's name. */
  owner_schedule?: string;
  /** Whether the namespace may be brought about by it; true when left out. */
  mayCreateNamespace?: boolean;
};
type Named = { namespace: string; name: string };
export type Applied = Answer & { action: Verdict["action"] };
/** What came of a rolling update; `heir` is the version that has the name again. */
export type Conclusion = { outcome: string; message: string; heir: string | null };

/** One namespace: which deployment holds which name. It is asked on apply and on delete, never while a deployment lives. Named by the namespace. */
export class NamespaceObject extends NamespaceResources {
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
   * Makes a manifest true under its name: a new deployment (201), which replaces what was there at once or step by step, or the one that is there
   * already (200), unchanged or amended. The body is the deployment's view. The same Idempotency-Key answers the same.
   */
  async apply(asked: Apply): Promise<Reply<Applied>> {
    const { mutation } = asked;
    for (;;) {
      const active = await this.#active(asked.manifest.name);
      const sealed = await sealRegistryPassword(this.env, asked.manifest, active?.manifest);
      if (!sealed.ok) return sealed;
      const manifest = sealed.value;
      const input = { ...asked, manifest };
      if (asked.mayCreateNamespace === false && !this.exists()) return mayNotCreate(this.name);
      if (input.holder !== undefined && active?.id !== input.holder)
        return refuseHolder(input.holder, manifest.name, active?.id ?? null);
      const renewed = this.changedReferences(active);
      const verdict = verdictOf(manifest, active, { force: input.force === true, renewed: renewed.length > 0 });
      if (input.dryRun) return rehearsal(manifest, mutation, active, verdict, renewed);
      this.#bear();
      // While the holder was asked, another apply may have taken the name.
      const reply = commit(this.ctx.storage, () =>
        holderOf(this.#sql, manifest.name) === (active?.id ?? null) ? this.#decided(input, active, verdict) : null,
      );
      if (reply === null) continue;
      await this.#outbox.drain();
      if (!reply.ok) return reply;
      if (reply.value.status === 200) {
        const deployment = remote(this.env.DEPLOYMENT, reply.value.body);
        const { action } = reply.value;
        const present = await (action === "amend" ? deployment.read([]) : deployment.reapplied(mutation.actor));
        return present.ok ? accept({ ...present.value, action }) : present;
      }
      return reply;
    }
  }

  /**
   * Applies an earlier revision of a name again: revision `to`, or (null) the newest before the present one whose update did not fail.
   * @param deploymentId the deployment that is asked to go back; it must hold the name
   */
  async rollBack(name: string, deploymentId: string, to: number | null, mutation: Mutation): Promise<Reply<Applied>> {
    const holder = this.#born ? holderOf(this.#sql, name) : null;
    if (holder !== deploymentId) return refuseHolder(deploymentId, name, holder);
    const revision = revisionToGoBackTo(revisionsOf(this.#sql, name), holder, to);
    if (revision === null)
      return refuse("not_found", to === null ? `${name} has no earlier revision.` : `${name} has no revision ${to}.`);
    const manifest = JSON.parse(revision.manifest) as Manifest;
    return this.apply({ manifest, mutation, dryRun: false, cause: `rollback to ${revision.number}` });
  }

  /** The revisions of a name, newest first. */
  revisions(name: string): RevisionView[] {
    if (!this.#born) return [];
    const holder = holderOf(this.#sql, name);
    const newest = new Set<string>();
    return revisionsOf(this.#sql, name).map((revision) => {
      const isNewest = !newest.has(revision.deployment_id);
      newest.add(revision.deployment_id);
      return revisionView(revision, holder, isNewest);
    });
  }

  /** What came of a rolling update. A failed version stays for its logs until another is applied to the name. */
  concluded(name: string, deploymentId: string, { outcome, message, heir }: Conclusion): void {
    if (!this.#born) return;
    commit(this.ctx.storage, () => {
      settleRevision(this.#sql, name, deploymentId, outcome, message);
      if (heir === null) return;
      if (giveUp(this.#sql, name, deploymentId, heir) && outcome === "failed")
        this.#sql.exec("INSERT OR REPLACE INTO leftover VALUES (?, ?)", deploymentId, name);
    });
  }

  /** The deployment no longer holds its name, and is known to its own object. */
  release(name: string, deploymentId: string, heir: string | null): void {
    if (!this.#born) return;
    commit(this.ctx.storage, () => {
      const now = Date.now();
      const asker = { actor: "scheduler", request_id: "" };
      if (giveUp(this.#sql, name, deploymentId, heir) && heir === null)
        for (const id of takeLeftovers(this.#sql, name))
          addReplacement(this.#sql, id, deploymentId, "the name was given up", asker, now);
      forget(this.#sql, deploymentId);
      forgetReferences(this.#sql, deploymentId);
    });
    this.ctx.waitUntil(this.#outbox.drain());
  }

  /** Makes a schedule true under its name: a new one (201), or the one that holds the name, changed or as it was (200). */
  async applySchedule(
    { namespace, name, ...rest }: Omit<ScheduleApply, "identity"> & Named,
    mayCreateNamespace = true,
  ): Promise<Reply<Answer>> {
    if (!mayCreateNamespace && !this.exists()) return mayNotCreate(this.name);
    this.#bear();
    const { mutation } = rest;
    for (;;) {
      const held = nameHolder(this.#sql, "schedule", name);
      const free = held !== null && (await remote(this.env.SCHEDULE, held).isDeleted());
      const now = Date.now();
      const claimed = commit(this.ctx.storage, () =>
        nameHolder(this.#sql, "schedule", name) === held
          ? once(this.#sql, mutation, now, () => {
              ensure(this.#sql, { namespace, now, by: mutation });
              // The id that is meant by the name from now on; the request's key keeps it.
              const id = held === null || free ? newId("schedule", now) : held;
              takeName(this.#sql, "schedule", name, id);
              return accept<Answer>({ status: 200, body: id, revision: 0 });
            })
          : null,
      );
      if (claimed === null) continue;
      if (!claimed.ok) return claimed;
      const id = claimed.value.body;
      const identity = { id, namespace, name, created_at: now };
      const reply = await remote(this.env.SCHEDULE, id).apply({ ...rest, identity });
      // A copy: what came over RPC, handed on as it is, would hold both objects until it is collected.
      if (reply !== null) return reply.ok ? accept({ ...reply.value }) : { ok: false, refusal: { ...reply.refusal } };
      // It was deleted meanwhile: the key gets another one.
      commit(this.ctx.storage, () => forgetRequest(this.#sql, mutation));
    }
  }

  /** What applying a schedule would come to: nothing is changed. */
  async wouldApplySchedule({
    name,
    spec,
    suspend,
  }: Omit<ScheduleApply, "identity" | "mutation"> & Named): Promise<{ action: string; schedule_id: string | null }> {
    const held = this.#born ? nameHolder(this.#sql, "schedule", name) : null;
    if (held === null) return { action: "create", schedule_id: null };
    const action = await remote(this.env.SCHEDULE, held).wouldApply(spec, suspend);
    return { action, schedule_id: action === "create" ? null : held };
  }

  protected override isBorn(): boolean {
    return this.#born;
  }

  protected override bear(): void {
    this.#bear();
  }

  protected override drain(): Promise<void> {
    return this.#outbox.drain();
  }

  override async alarm(info?: AlarmInvocationInfo): Promise<void> {
    if (!this.#born || isPostponed(this.ctx.storage, info)) return;
    try {
      await this.#outbox.drain();
    } finally {
      rearm(this.ctx.storage);
    }
  }

  /** The answer to keep: 201 with the body, or 200 with the id of the deployment that stays. */
  #decided(input: Apply, active: Active | null, verdict: Verdict): Reply<Applied> {
    const { manifest, mutation, cause = "apply", owner_schedule } = input;
    const now = Date.now();
    const sql = this.#sql;
    return once<Applied>(sql, mutation, now, () => {
      const { action } = verdict;
      const revision = active?.revision ?? 0;
      const refusal = stale(mutation, revision);
      if (refusal) return refusal;
      if (owner_schedule !== undefined && verdict.action !== "create")
        return refuse("name_taken", `${manifest.name} is the name of ${verdict.id}, which is no run of this schedule.`);
      if (verdict.action === "unchanged") return accept({ status: 200, body: verdict.id, revision, action });
      const head: Head = { namespace: this.name, now, by: mutation };
      ensure(sql, head);
      const amends = verdict.action === "amend";
      const deployment_id = amends ? verdict.id : newId("deployment", now);
      const number = addRevision(sql, manifest.name, {
        deployment_id,
        manifest,
        created_at: now,
        actor: mutation.actor,
        cause: amends && cause === "apply" ? "scale" : cause,
        outcome: verdict.action === "roll" ? "progressing" : "applied",
      });
      if (amends) {
        addAmendment(sql, deployment_id, manifest, mutation, now);
        return accept({ status: 200, body: deployment_id, revision, action });
      }
      const identity: DeploymentIdentity = {
        ...this.#identity(deployment_id, manifest, verdict, number, now),
        ...(owner_schedule === undefined ? {} : { owner_schedule }),
      };
      remember(sql, identity, head);
      claim(sql, manifest.name, identity.id);
      addCreation(sql, identity, mutation, now);
      if (verdict.action !== "create") settleSuperseded(sql, manifest.name, verdict.id, identity.id);
      for (const id of "dropped" in verdict ? verdict.dropped : [])
        addReplacement(sql, id, identity.id, "why" in verdict ? verdict.why : "nothing of it served", mutation, now);
      for (const id of takeLeftovers(sql, manifest.name))
        addReplacement(sql, id, identity.id, "another version was applied", mutation, now);
      return accept({ status: 201, body: JSON.stringify(firstView(identity)), revision: 1, action });
    });
  }

  #identity(id: string, manifest: Manifest, verdict: Verdict, number: number, now: number): DeploymentIdentity {
    return {
      id,
      created_at: now,
      manifest,
      replaces: "id" in verdict ? verdict.id : null,
      takes_over:
        verdict.action === "roll"
          ? { number: 2 * number, parents: verdict.parents.map((parent) => parent.id), autoscaled: verdict.autoscaled }
          : null,
      force_replace: verdict.action === "replace" ? verdict.why : null,
    };
  }

  async #deliver(key: string): Promise<void> {
    if (key.startsWith("index ") || key.startsWith("tell "))
      return deliverResource(key, this.#sql, this.env, this.name);
    const [what, id] = key.split(" ") as ["create" | "replace" | "amend", string];
    const deployment = remote(this.env.DEPLOYMENT, id);
    switch (what) {
      case "create": {
        const row = creationOf(this.#sql, id);
        if (!row) return;
        await deployment.create(row.identity, row.actor, row.request_id);
        this.#sql.exec("DELETE FROM creation WHERE deployment_id = ?", id);
        return;
      }
      case "amend": {
        const row = amendmentOf(this.#sql, id);
        if (!row) return;
        await deployment.amend(row.manifest, row.actor, row.request_id);
        this.#sql.exec("DELETE FROM amendment WHERE deployment_id = ? AND manifest = ?", id, row.text);
        return;
      }
      case "replace": {
        const row = replacementOf(this.#sql, id);
        if (!row) return;
        const mutation: Mutation = { actor: row.actor, request_id: row.request_id, if_match: null, idempotency: null };
        await deployment.delete(mutation, [], replacedEntry(row.by_id, row.why));
        this.#sql.exec("DELETE FROM replacement WHERE deployment_id = ?", id);
      }
    }
  }

  async #active(name: string): Promise<Active | null> {
    const id = this.#born ? holderOf(this.#sql, name) : null;
    if (id === null) return null;
    const peek = await remote(this.env.DEPLOYMENT, id).peek();
    if (peek) return { id, ...peek };
    // Claimed, but its object does not know it: not made yet, or purged already.
    const row = creationOf(this.#sql, id);
    return row
      ? {
          id,
          status: "pending",
          manifest: row.identity.manifest,
          revision: 1,
          report: null,
          parents: (row.identity.takes_over?.parents ?? []).map((parent) => ({ id: parent, report: UNHEARD })),
          autoscaled: null,
        }
      : { id, status: "deleted", manifest: null, revision: 0 };
  }
}

/** A parent that nobody has heard yet: as far as is known it serves. */
const UNHEARD: RolloutReport = { instances: [{ id: "", slot: 0, ready: true }], leaving: 0, established: true };

/** The version that was being rolled out, when another is applied before it was done. */
function settleSuperseded(sql: SqlStorage, name: string, id: string, by: string): void {
  const row = revisionsOf(sql, name).find(({ deployment_id }) => deployment_id === id);
  if (row?.outcome === "progressing")
    settleRevision(sql, name, id, "superseded", `${by} was applied before it was complete`);
}

const refuseHolder = (id: string, name: string, holder: string | null): Reply<never> =>
  refuse("action_not_allowed", `${id} does not hold the name ${name}; ${holder ?? "nobody"} does.`);

/** What the DeploymentObject will make of the same identity: so the answer of a creation is known, and kept, before its object is asked. */
function firstView(identity: DeploymentIdentity): DeploymentView {
  const { state, entries } = initial(factsOf(identity, 0, identity.created_at), identity);
  return deploymentView(identity, state, {
    revision: 1,
    updated_at: identity.created_at,
    event_cursor: entries.length,
  });
}
