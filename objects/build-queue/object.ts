import buildQueue0001 from "../../migrations/build-queue/0001_create.sql";
import { setTimer } from "../alarm.ts";
import type { InstanceObject } from "../instance/object.ts";
import { post } from "../outbox.ts";
import { remote } from "../remote.ts";
import { StoredObject, type Timer } from "../stored-object.ts";
import { next, type Waiting } from "./decide.ts";

const MIGRATIONS = [{ id: "build-queue/0001", sql: buildQueue0001 }];
/** How many builds of a region are under way at a time. */
const CAPACITY = 2;
/** After so long an instance that has its turn, or waits for it, is asked whether it still does, ms. */
const CHECK_AFTER_MS = 300_000;

export type Ticket = { build_id: string; instance_id: string; namespace: string };
type Row = Ticket & { number: number; admitted_at: number | null };

/**
 * The build capacity of a region: which builds wait, and which have their turn. Named by the region. It holds no truth of its own: an instance
 * says that its build waits and that it is over, and is asked when neither was heard for long.
 */
export class BuildQueueObject extends StoredObject {
  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env, MIGRATIONS);
  }

  /** The build waits for its turn; its instance is told when it has it. Said again, it keeps its place. */
  enqueue(ticket: Ticket): void {
    this.bear();
    this.change((now) => {
      const { build_id, instance_id, namespace } = ticket;
      this.sql.exec(
        "INSERT INTO ticket (build_id, instance_id, namespace, queued_at, check_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT (build_id) DO NOTHING",
        build_id,
        instance_id,
        namespace,
        now,
        now + CHECK_AFTER_MS,
      );
      const row = this.#row(build_id);
      if (row?.admitted_at != null) post(this.sql, `admit ${build_id}`, now);
      this.#admit(now);
    });
  }

  /** The build is over, or does not wait any more. */
  release(buildId: string): void {
    if (!this.isBorn) return;
    this.change((now) => {
      this.sql.exec("DELETE FROM ticket WHERE build_id = ?", buildId);
      this.#admit(now);
    });
  }

  /** What waits and what has its turn, in the order in which they came. */
  tickets(): (Ticket & { admitted: boolean })[] {
    return this.isBorn
      ? this.#rows().map(({ build_id, instance_id, namespace, admitted_at }) => ({
          build_id,
          instance_id,
          namespace,
          admitted: admitted_at !== null,
        }))
      : [];
  }

  protected override due(_timer: Timer, now: number): void {
    const due = this.sql
      .exec<{ build_id: string }>(
        "UPDATE ticket SET check_at = ? WHERE check_at <= ? RETURNING build_id",
        now + CHECK_AFTER_MS,
        now,
      )
      .toArray();
    for (const { build_id } of due) post(this.sql, `check ${build_id}`, now);
  }

  protected override change<T>(work: (now: number) => T): T {
    return super.change((now) => {
      const answer = work(now);
      const { at } = this.sql.exec<{ at: number | null }>("SELECT min(check_at) AS at FROM ticket").one();
      setTimer(this.sql, "check", at);
      return answer;
    });
  }

  /** Gives free places to those whose turn it is. Call it inside `commit`. */
  #admit(now: number): void {
    const rows = this.#rows();
    const waiting: Waiting[] = rows.filter(({ admitted_at }) => admitted_at === null);
    const free = this.#capacity() - (rows.length - waiting.length);
    const turns = Object.fromEntries(
      this.sql
        .exec<{ namespace: string; number: number }>("SELECT namespace, number FROM turn")
        .toArray()
        .map((row) => [row.namespace, row.number]),
    );
    const { admitted, turns: after } = next(waiting, turns, free);
    for (const { build_id, namespace } of admitted) {
      this.sql.exec(
        "UPDATE ticket SET admitted_at = ?, check_at = ? WHERE build_id = ?",
        now,
        now + CHECK_AFTER_MS,
        build_id,
      );
      this.sql.exec("INSERT OR REPLACE INTO turn VALUES (?, ?)", namespace, after[namespace] as number);
      post(this.sql, `admit ${build_id}`, now);
    }
  }

  #capacity(): number {
    return Math.max(1, Number(this.env.BUILD_CAPACITY) || CAPACITY);
  }

  protected override async deliver(key: string): Promise<void> {
    const [what, buildId] = key.split(" ") as ["admit" | "check", string];
    const row = this.#row(buildId);
    if (!row) return;
    const instance = remote<InstanceObject>(this.env.INSTANCE, row.instance_id);
    if (what === "admit") return instance.admitted(buildId);
    if (!(await instance.needsCapacity(buildId))) this.release(buildId);
  }

  #row(buildId: string): Row | null {
    return this.#rows().find(({ build_id }) => build_id === buildId) ?? null;
  }

  #rows(): Row[] {
    return this.sql
      .exec<Row>("SELECT number, build_id, instance_id, namespace, admitted_at FROM ticket ORDER BY number")
      .toArray();
  }
}
