import { newId } from "../../contract/id.ts";
import type { Manifest } from "../../contract/manifest.ts";
import { accept, type Reply, refuse } from "../../contract/problem.ts";
import type { Answer, Mutation } from "../../contract/request.ts";
import type { RevisionView, RolloutReport } from "../../contract/rollout.ts";
import { copied, remote } from "../remote.ts";
import { forgetRequest, once } from "../request.ts";
import type { ScheduleApply } from "../schedule/object.ts";
import { type Applied, type Apply, decided } from "./apply.ts";
import { addReplacement, creationOf, forget, giveUp, holderOf, takeLeftovers } from "./claim.ts";
import { type Active, verdictOf } from "./decide.ts";
import { deliver } from "./deliver.ts";
import { ensure, mayNotCreate } from "./existence.ts";
import { MIGRATIONS } from "./migrations.ts";
import { nameHolder, takeName } from "./name-claim.ts";
import { forgetReferences } from "./reference.ts";
import { sealRegistryPassword } from "./registry-password.ts";
import { rehearsal } from "./rehearsal.ts";
import { NamespaceResources } from "./resources.ts";
import { revisionsOf, revisionToGoBackTo, revisionView, settleRevision } from "./revision.ts";

type Named = { namespace: string; name: string };
/** What came of a rolling update; `heir` is the version that has the name again. */
export type Conclusion = { outcome: string; message: string; heir: string | null };

/** One namespace: which deployment holds which name. It is asked on apply and on delete, never while a deployment lives. Named by the namespace. */
export class NamespaceObject extends NamespaceResources {
  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env, MIGRATIONS);
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
      this.bear();
      // While the holder was asked, another apply may have taken the name.
      const reply = this.change((now) =>
        holderOf(this.sql, manifest.name) === (active?.id ?? null)
          ? decided(this.sql, this.name, input, active, verdict, now)
          : null,
      );
      if (reply === null) continue;
      await this.outbox.drain();
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
    const holder = this.isBorn ? holderOf(this.sql, name) : null;
    if (holder !== deploymentId) return refuseHolder(deploymentId, name, holder);
    const revision = revisionToGoBackTo(revisionsOf(this.sql, name), holder, to);
    if (revision === null)
      return refuse("not_found", to === null ? `${name} has no earlier revision.` : `${name} has no revision ${to}.`);
    const manifest = JSON.parse(revision.manifest) as Manifest;
    return this.apply({ manifest, mutation, dryRun: false, cause: `rollback to ${revision.number}` });
  }

  /** The revisions of a name, newest first. */
  revisions(name: string): RevisionView[] {
    if (!this.isBorn) return [];
    const holder = holderOf(this.sql, name);
    const newest = new Set<string>();
    return revisionsOf(this.sql, name).map((revision) => {
      const isNewest = !newest.has(revision.deployment_id);
      newest.add(revision.deployment_id);
      return revisionView(revision, holder, isNewest);
    });
  }

  /** What came of a rolling update. A failed version stays for its logs until another is applied to the name. */
  concluded(name: string, deploymentId: string, { outcome, message, heir }: Conclusion): void {
    if (!this.isBorn) return;
    this.change(() => {
      settleRevision(this.sql, name, deploymentId, outcome, message);
      if (heir === null) return;
      if (giveUp(this.sql, name, deploymentId, heir) && outcome === "failed")
        this.sql.exec("INSERT OR REPLACE INTO leftover VALUES (?, ?)", deploymentId, name);
    });
  }

  /** The deployment no longer holds its name, and is known to its own object. */
  release(name: string, deploymentId: string, heir: string | null): void {
    if (!this.isBorn) return;
    this.change((now) => {
      const asker = { actor: "scheduler", request_id: "" };
      if (giveUp(this.sql, name, deploymentId, heir) && heir === null)
        for (const id of takeLeftovers(this.sql, name))
          addReplacement(this.sql, id, deploymentId, "the name was given up", asker, now);
      forget(this.sql, deploymentId);
      forgetReferences(this.sql, deploymentId);
    });
  }

  /** Makes a schedule true under its name: a new one (201), or the one that holds the name, changed or as it was (200). */
  async applySchedule(
    { namespace, name, ...rest }: Omit<ScheduleApply, "identity"> & Named,
    mayCreateNamespace = true,
  ): Promise<Reply<Answer>> {
    if (!mayCreateNamespace && !this.exists()) return mayNotCreate(this.name);
    this.bear();
    const { mutation } = rest;
    for (;;) {
      const held = nameHolder(this.sql, "schedule", name);
      const free = held !== null && (await remote(this.env.SCHEDULE, held).isDeleted());
      const now = Date.now();
      const claimed = this.change(() =>
        nameHolder(this.sql, "schedule", name) === held
          ? once(this.sql, mutation, now, () => {
              ensure(this.sql, { namespace, now, by: mutation });
              // The id that is meant by the name from now on; the request's key keeps it.
              const id = held === null || free ? newId("schedule", now) : held;
              takeName(this.sql, "schedule", name, id);
              return accept<Answer>({ status: 200, body: id, revision: 0 });
            })
          : null,
      );
      if (claimed === null) continue;
      if (!claimed.ok) return claimed;
      const id = claimed.value.body;
      const identity = { id, namespace, name, created_at: now };
      const reply = await remote(this.env.SCHEDULE, id).apply({ ...rest, identity });
      if (reply !== null) return copied(reply);
      // It was deleted meanwhile: the key gets another one.
      this.change(() => forgetRequest(this.sql, mutation));
    }
  }

  /** What applying a schedule would come to: nothing is changed. */
  async wouldApplySchedule({
    name,
    spec,
    suspend,
  }: Omit<ScheduleApply, "identity" | "mutation"> & Named): Promise<{ action: string; schedule_id: string | null }> {
    const held = this.isBorn ? nameHolder(this.sql, "schedule", name) : null;
    if (held === null) return { action: "create", schedule_id: null };
    const action = await remote(this.env.SCHEDULE, held).wouldApply(spec, suspend);
    return { action, schedule_id: action === "create" ? null : held };
  }

  protected override deliver(key: string): Promise<void> {
    return deliver(key, this.sql, this.env, this.name);
  }

  async #active(name: string): Promise<Active | null> {
    const id = this.isBorn ? holderOf(this.sql, name) : null;
    if (id === null) return null;
    const peek = await remote(this.env.DEPLOYMENT, id).peek();
    if (peek) return { id, ...peek };
    // Claimed, but its object does not know it: not made yet, or purged already.
    const row = creationOf(this.sql, id);
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

const refuseHolder = (id: string, name: string, holder: string | null): Reply<never> =>
  refuse("action_not_allowed", `${id} does not hold the name ${name}; ${holder ?? "nobody"} does.`);
