import { verdict } from "../../contract/action.ts";
import { sameManifest } from "../../contract/manifest-diff.ts";
import { accept, type Reply, refuse } from "../../contract/problem.ts";
import type { Answer, Mutation } from "../../contract/request.ts";
import {
  SCHEDULE_ACTION_TABLE,
  type ScheduleAction,
  type ScheduleIdentity,
  type ScheduleSpec,
  type Standing,
} from "../../contract/schedule.ts";
import { permits } from "../../contract/scope.ts";
import schedule0001 from "../../migrations/schedule/0001_create.sql";
import { sealRegistryPassword } from "../namespace/registry-password.ts";
import { post } from "../outbox.ts";
import { audit, project } from "../projection.ts";
import { remote } from "../remote.ts";
import { once, stale } from "../request.ts";
import { type ResourceKind, ResourceObject } from "../resource-object.ts";
import type { Timer } from "../stored-object.ts";
import { entomb, isPurged } from "../tombstone.ts";
import { decide, initial, isUnderWay, type ScheduleDecision, type ScheduleEvent, triggerRefusal } from "./decide.ts";
import { check, discard, type Sender, start } from "./deliver.ts";
import { isGone, subjects } from "./letters.ts";
import { auditEntry, indexRow, load, runViews, type ScheduleRecord, save } from "./record.ts";
import { lookAt } from "./times.ts";

const SCHEDULE: ResourceKind<ScheduleRecord, string[]> = {
  noun: "schedule",
  migrations: [{ id: "schedule/0001", sql: schedule0001 }],
  load,
  isVisible: ({ identity }, namespaces) => permits({ namespaces }, identity.namespace),
};

export type ScheduleApply = {
  identity: ScheduleIdentity;
  spec: ScheduleSpec;
  suspend: boolean | null;
  mutation: Mutation;
};

/** One schedule: its cron expression, its runs, and its own alarm at the next time. Named by its id. */
export class ScheduleObject extends ResourceObject<ScheduleRecord> {
  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env, SCHEDULE);
  }

  protected override view(record: ScheduleRecord): string {
    return record.view;
  }

  /** Makes the schedule (201), changes it (200), or finds that it says so already (200). Null: it is deleted, and its name free for another. */
  async apply({ identity, spec: written, suspend, mutation }: ScheduleApply): Promise<Reply<Answer> | null> {
    const sealed = await this.#sealed(written);
    if (!sealed.ok) return sealed;
    const spec = sealed.value;
    this.bear();
    return this.change((now) => {
      let deleted = false;
      const reply = once(this.sql, mutation, now, (): Reply<Answer> => {
        const record = this.load();
        deleted = record?.state.status === "deleted" || isPurged(this.sql);
        const refusal = deleted ? this.unknown() : stale(mutation, record?.revision ?? 0);
        if (refusal) return refusal;
        if (record === null) {
          const decision = initial(
            { name: identity.name, spec, now, look: lookFrom(spec, now, now) },
            suspend ?? false,
          );
          this.#write(identity, spec, null, decision, mutation.actor, now);
        } else if (!isSame(record, spec, suspend)) {
          const retimed = record.spec.cron !== spec.cron || record.spec.time_zone !== spec.time_zone;
          this.#apply({ type: "applied", suspend, retimed }, mutation.actor, now, spec);
        }
        const present = this.load() as ScheduleRecord;
        if (present.revision !== record?.revision)
          this.#audit(present, record === null ? "create" : "apply", mutation, now, record?.revision ?? null);
        return this.answer(record === null ? 201 : 200);
      });
      return deleted ? null : reply;
    });
  }

  /** Whether another may have its name. One that was never made is still to come. */
  isDeleted(): boolean {
    return this.load()?.state.status === "deleted" || (this.isBorn && isPurged(this.sql));
  }

  /** What applying it would come to: nothing is changed. */
  async wouldApply(spec: ScheduleSpec, suspend: boolean | null): Promise<"create" | "update" | "unchanged"> {
    const sealed = await this.#sealed(spec);
    const record = this.load();
    if (record === null || record.state.status === "deleted") return "create";
    return sealed.ok && isSame(record, sealed.value, suspend) ? "unchanged" : "update";
  }

  /** The job's registry password is not stored in clear. */
  async #sealed(spec: ScheduleSpec): Promise<Reply<ScheduleSpec>> {
    const job = await sealRegistryPassword(this.env, spec.job, this.load()?.spec.job);
    return job.ok ? accept({ ...spec, job: job.value }) : job;
  }

  /** Starts a run now, or suspends or resumes. What is so already is success. */
  act(action: Exclude<ScheduleAction, "apply" | "delete">, mutation: Mutation, namespaces: string[]): Reply<Answer> {
    return this.#act(action, mutation, namespaces, (record, now) => {
      const refusal = action === "trigger" ? triggerRefusal(record.state, record.spec, record.identity.name) : null;
      if (refusal !== null)
        return refuse("action_not_allowed", refusal, { more: { resource_status: record.state.status } });
      this.#apply({ type: action }, mutation.actor, now);
      return null;
    });
  }

  /** Deletes it, and its runs with it. */
  delete(mutation: Mutation, namespaces: string[]): Reply<Answer> {
    return this.#act("delete", mutation, namespaces, (_record, now) => {
      this.#apply({ type: "delete" }, mutation.actor, now);
      post(this.sql, "release", now);
      return null;
    });
  }

  /** Where the deployment of one of its runs stands. Told twice, or late, it changes nothing. */
  runStands(deploymentId: string, standing: Standing): void {
    this.change((now) => this.#apply({ type: "told", deployment_id: deploymentId, standing }, "scheduler", now));
  }

  runs(namespaces: string[]): Reply<string> {
    const record = this.visible(namespaces);
    return record.ok ? accept(JSON.stringify(runViews(record.value.identity.name, record.value.state))) : record;
  }

  protected override async beforeDue(now: number): Promise<void> {
    if (this.#isInDoubt(now)) await check(this.#sender()).catch(() => undefined);
  }

  protected override due({ name }: Timer, now: number): void {
    const state = this.load()?.state;
    if (name !== "deadline" || !state) return;
    if (state.check_at !== null && state.check_at <= now) post(this.sql, "check", now);
    this.#apply({ type: "due" }, "scheduler", now);
  }

  /** Whether a time has come whose fate depends on a run that is thought to be under way: that is asked, not believed. */
  #isInDoubt(now: number): boolean {
    const record = this.load();
    if (!record || record.spec.concurrency_policy === "allow") return false;
    return "next_at" in record.state && record.state.next_at <= now && record.state.runs.some(isUnderWay);
  }

  protected override async deliver(key: string): Promise<void> {
    const record = this.load();
    if (!record) return;
    const { identity } = record;
    const [what, subject = ""] = key.split(" ");
    switch (what) {
      case "index":
        return project(this.sql, this.env.INDEX, indexRow(record, false));
      case "release":
        return remote(this.env.NAMESPACE, identity.namespace).releaseName("schedule", identity.name, identity.id);
      case "start":
        return start(subject, this.#sender());
      case "delete":
        return discard(subject, this.#sender());
      case "check":
        return check(this.#sender());
      case "purge":
        await remote(this.env.NAMESPACE, identity.namespace).releaseName("schedule", identity.name, identity.id);
        await project(this.sql, this.env.INDEX, indexRow(record, true));
        return this.change((now) => entomb(this.sql, ["schedule"], now));
    }
  }

  #sender(): Sender {
    return {
      env: this.env,
      load: () => this.load(),
      apply: (event) => this.change((now) => this.#apply(event, "scheduler", now)),
    };
  }

  /** A mutation of a schedule that is there; `work` answers why not, or null. */
  #act(
    action: ScheduleAction,
    mutation: Mutation,
    namespaces: string[],
    work: (record: ScheduleRecord, now: number) => Reply<never> | null,
  ): Reply<Answer> {
    return this.mutate(mutation, namespaces, (record, now) => {
      const { identity, state, revision } = record;
      const said = verdict(SCHEDULE_ACTION_TABLE, state.status, action);
      if (said === "refused")
        return refuse("action_not_allowed", `${identity.name} is ${state.status}.`, {
          more: { resource_status: state.status },
        });
      const no = said === "go" ? work(record, now) : null;
      if (no) return no;
      const present = this.load() as ScheduleRecord;
      if (said === "go") this.#audit(present, action, mutation, now, revision);
      return action === "delete" ? accept({ status: 204, body: "", revision: present.revision }) : this.answer(200);
    });
  }

  #audit(record: ScheduleRecord, action: string, mutation: Mutation, now: number, before: number | null): void {
    audit(this.sql, auditEntry(record.identity, action, mutation, now, before, record.revision));
    post(this.sql, isGone(record.state) ? "purge" : "index", now);
  }

  #apply(event: ScheduleEvent, actor: string, now: number, spec?: ScheduleSpec): void {
    const record = this.load();
    if (!record) return;
    const present = spec ?? record.spec;
    const anew = event.type === "resume" || (event.type === "applied" && (event.retimed || event.suspend === false));
    const look = lookFrom(present, anew ? now : record.state.done_until, now);
    const decision = decide(record.state, event, { name: record.identity.name, spec: present, now, look });
    this.#write(record.identity, present, record, decision, actor, now);
  }

  #write(
    identity: ScheduleIdentity,
    spec: ScheduleSpec,
    before: ScheduleRecord | null,
    decision: ScheduleDecision,
    actor: string,
    now: number,
  ): void {
    if (save(this.sql, identity, spec, before, decision, { actor, now }))
      post(this.sql, isGone(decision.state) ? "purge" : "index", now);
    const known = before ? subjects(before.state, before.spec) : new Set();
    for (const subject of subjects(decision.state, spec)) if (!known.has(subject)) post(this.sql, subject, now);
  }
}

const lookFrom = (spec: ScheduleSpec, doneUntil: number, now: number) =>
  lookAt(spec.cron, spec.time_zone, doneUntil, now);

const isSame = ({ spec: before, state }: ScheduleRecord, spec: ScheduleSpec, suspend: boolean | null): boolean =>
  sameManifest(before.job, spec.job) &&
  JSON.stringify({ ...before, job: null }) === JSON.stringify({ ...spec, job: null }) &&
  (suspend === null || suspend === (state.status === "suspended"));
