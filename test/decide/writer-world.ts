// Writers, keepers and hosts as far as terms and logs go, driven by the decisions of the agent. A log is a list of commits; positions are its length.

import { type Decision, decide, type LocalCluster } from "../../agent/postgres/ladder.ts";
import { keptOf, mostComplete } from "../../agent/postgres/quorum.ts";
import type { KeptDatabase } from "../../contract/keeper.ts";
import { formatLsn } from "../../postgres/lsn.ts";
import type { random } from "../random.ts";

type Line = { timeline: number; until: number }[];
type Log = { cluster: number; timeline: number; line: Line; commits: string[] };
type Keeper = {
  name: string;
  promised: number;
  since: number | null;
  writerTerm: number;
  log: Log | null;
  follows: number;
};
type Copy = Log & { opened: number; state: "clean" | "crashed" | "damaged" };
type Host = { fence: number; copy: Copy | null; running: number | null; followers: Set<Keeper> };

export class WriterWorld {
  readonly hosts: Host[];
  readonly keepers: Keeper[];
  readonly quorum: number;
  readonly acknowledged = new Set<string>();
  readonly told: string[] = [];
  #rnd: ReturnType<typeof random>;
  #term = 0;
  #served = 0;
  #names = 0;

  constructor(rnd: ReturnType<typeof random>, hosts: number, keepers: number, quorum: number) {
    this.#rnd = rnd;
    this.quorum = quorum;
    this.hosts = Array.from({ length: hosts }, () => ({ fence: 0, copy: null, running: null, followers: new Set() }));
    this.keepers = Array.from({ length: keepers }, (_, i) => this.#blank(`k${i}`));
  }

  /** A host is ordered to run the writer of the next term. Answers why it refused, or null. */
  order(at: number, reachable: readonly Keeper[], fate: "ready" | "dies early"): string | null {
    const host = this.hosts[at] as Host;
    this.#term++;
    host.fence = Math.max(host.fence, this.#term);
    for (let attempt = 0, localDiverged = false; attempt < 4; attempt++) {
      const decision = this.#decide(host, reachable, localDiverged);
      this.told.push(
        `term ${this.#term} at host ${at} with ${reachable.map(({ name }) => name)}: ${decision.do}, ${decision.why}`,
      );
      if (decision.do === "refuse") return decision.code;
      if (decision.do === "stop") this.crash(at);
      else {
        this.#open(host, decision, reachable);
        const followers = this.#follow(host, reachable, fate);
        if (followers === "diverged") {
          this.crash(at);
          localDiverged = true;
          continue;
        }
        if (fate === "dies early") this.crash(at);
        else this.#served = this.#term;
        return null;
      }
    }
    return "failed";
  }

  /** A writer that runs, of whatever term, commits: on its own disk first, then at some of its keepers. */
  commit(at: number): void {
    const host = this.hosts[at] as Host;
    const { copy, running } = host;
    if (!copy || running === null) return;
    const name = `c${this.#names++}`;
    copy.commits.push(name);
    const took = [...host.followers].filter((keeper) => {
      // A keeper takes nothing from a writer once it has promised a later term.
      if (keeper.promised > running || keeper.follows !== running || !this.#rnd.chance(0.7)) return false;
      keeper.log = logOf(copy);
      return true;
    });
    if (took.length >= this.quorum && running <= this.#served) this.acknowledged.add(name);
  }

  crash(at: number): void {
    const host = this.hosts[at] as Host;
    if (host.copy && host.running !== null) host.copy.state = "crashed";
    host.running = null;
    host.followers.clear();
  }

  stop(at: number): void {
    const host = this.hosts[at] as Host;
    if (host.copy && host.running !== null) {
      for (const keeper of host.followers)
        if (keeper.promised <= host.running && this.#rnd.chance(0.8)) keeper.log = logOf(host.copy);
      host.copy.state = "clean";
    }
    host.running = null;
    host.followers.clear();
  }

  wipe(at: number): void {
    this.crash(at);
    (this.hosts[at] as Host).copy = null;
  }

  /** Its files are spoiled while it is off. What is lost of the end of the log can be told, or not: then only the keepers show it. */
  spoil(at: number, isSeen: boolean): void {
    this.crash(at);
    const { copy } = this.hosts[at] as Host;
    if (copy === null) return;
    if (isSeen) copy.state = "damaged";
    else if (copy.state === "clean") copy.commits.splice(this.#rnd.int(copy.commits.length + 1));
  }

  loseKeeper(at: number): void {
    const { name } = this.keepers[at] as Keeper;
    const lost = this.keepers[at] as Keeper;
    for (const host of this.hosts) host.followers.delete(lost);
    this.keepers[at] = this.#blank(name);
  }

  /** The acknowledged commits that the writer which clients were last let in to does not have. */
  missing(): string[] {
    const host = this.hosts.find(({ running }) => running === this.#served && running > 0);
    if (!host?.copy) return [];
    const there = new Set(host.copy.commits);
    return [...this.acknowledged].filter((name) => !there.has(name));
  }

  get served(): number {
    return this.#served;
  }

  #decide(host: Host, reachable: readonly Keeper[], localDiverged: boolean): Decision {
    for (const keeper of reachable) {
      if (keeper.promised < this.#term) keeper.follows = 0;
      keeper.promised = Math.max(keeper.promised, this.#term);
      keeper.since ??= this.#term;
    }
    const answers = reachable.map((keeper) => ({ status: statusOf(keeper) }));
    const size = { keepers: this.keepers.length, quorum: this.quorum, servedTerm: this.#served };
    const source = mostComplete(answers, size.keepers, size.quorum);
    const statuses = answers.map(({ status }) => status);
    return decide({
      ...{ term: this.#term, fence: host.fence, servedTerm: this.#served, acceptLoss: false, driver: "process" },
      ...{ runningTerm: host.running, local: localOf(host), localDiverged },
      kept: source && keptOf(statuses, source.status, size),
    });
  }

  #open(host: Host, decision: Decision, reachable: readonly Keeper[]): void {
    const term = this.#term;
    if (decision.do === "create") {
      host.copy = { cluster: this.#names++, timeline: 1, line: [], commits: [], opened: term, state: "crashed" };
      for (const keeper of reachable) if (keeper.writerTerm === 0) keeper.log = logOf(host.copy);
    } else if (decision.do === "restore") {
      const answers = reachable.map((keeper) => ({ keeper, status: statusOf(keeper) }));
      const source = logOf(
        (mostComplete(answers, this.keepers.length, this.quorum) as { keeper: Keeper }).keeper.log as Log,
      );
      // PostgreSQL takes the next number after those that it knows of; other copies may have taken the same.
      const line = [...source.line, { timeline: source.timeline, until: source.commits.length }];
      host.copy = { ...source, timeline: source.timeline + 1, line, opened: term, state: "crashed" };
    } else if (host.copy) Object.assign(host.copy, { opened: term, state: "crashed" });
    host.running = term;
    host.followers.clear();
  }

  #follow(host: Host, reachable: readonly Keeper[], fate: "ready" | "dies early"): "followed" | "diverged" {
    const copy = host.copy as Copy;
    const able: Keeper[] = [];
    for (const keeper of reachable) {
      if (!continues(keeper.log, copy)) continue;
      able.push(keeper);
    }
    const willing = fate === "ready" ? able : able.filter(() => this.#rnd.chance(0.6));
    for (const keeper of willing) {
      keeper.follows = this.#term;
      const isWhole = fate === "ready" || this.#rnd.chance(0.5);
      if (isWhole) {
        keeper.log = logOf(copy);
        keeper.writerTerm = this.#term;
      } else if (keeper.log) keeper.log = partOf(copy, keeper.log, this.#rnd);
      host.followers.add(keeper);
    }
    if (fate === "ready" && able.length < this.quorum) return "diverged";
    // Enough follow: the others give up what they have.
    if (fate === "ready")
      for (const keeper of reachable)
        if (!able.includes(keeper) && this.#rnd.chance(0.5)) {
          Object.assign(keeper, { log: logOf(copy), writerTerm: this.#term, follows: this.#term });
          host.followers.add(keeper);
        }
    return "followed";
  }

  #blank(name: string): Keeper {
    return { name, promised: 0, since: null, writerTerm: 0, log: null, follows: 0 };
  }
}

const logOf = ({ cluster, timeline, line, commits }: Log): Log => ({
  ...{ cluster, timeline, line: [...line], commits: [...commits] },
});

/** Whether a keeper can go on from what it has; like the real one, it compares only the end of it. */
function continues(kept: Log | null, writer: Log): boolean {
  if (kept === null) return true;
  if (kept.cluster !== writer.cluster) return false;
  const until =
    kept.timeline === writer.timeline
      ? writer.commits.length
      : writer.line.find(({ timeline }) => timeline === kept.timeline)?.until;
  if (until === undefined) return false;
  if (kept.timeline === writer.timeline && kept.commits.length > until) return false;
  if (kept.timeline === writer.timeline && JSON.stringify(kept.line) !== JSON.stringify(writer.line)) return false;
  const end = Math.min(kept.commits.length, until);
  return end === 0 || kept.commits[end - 1] === writer.commits[end - 1];
}

/** The connection was lost while the keeper caught up. */
function partOf(writer: Log, kept: Log, rnd: ReturnType<typeof random>): Log {
  const branch =
    kept.timeline === writer.timeline ? 0 : (writer.line.find((each) => each.timeline === kept.timeline)?.until ?? 0);
  const most = writer.commits.length;
  const least = Math.min(kept.commits.length, branch === 0 ? most : branch);
  const end = least + rnd.int(most - least + 1);
  if (end < branch) return { ...logOf(kept), commits: writer.commits.slice(0, Math.max(end, least)) };
  return { ...logOf(writer), commits: writer.commits.slice(0, end) };
}

function localOf({ copy, running }: Host): LocalCluster | null {
  if (copy === null || running !== null) return null;
  if (copy.state === "damaged") return { state: "damaged", why: "spoiled" };
  const end = copy.state === "clean" ? BigInt(copy.commits.length) : null;
  return {
    systemIdentifier: String(copy.cluster),
    timeline: copy.timeline,
    state: copy.state,
    end,
    openedTerm: copy.opened,
  };
}

function statusOf({ name, promised, since, writerTerm, log }: Keeper): KeptDatabase {
  return {
    ...{ id: "db", keeper: name, promised_term: promised, writer_term: writerTerm, remembers_since: since },
    ...{ system_identifier: log && String(log.cluster), timeline: log?.timeline ?? 0 },
    flush_lsn: log && formatLsn(BigInt(log.commits.length)),
    restorable: log !== null,
    following: { state: "off", term: null, since: null, reason: null },
    ...{ lease_left_ms: 0, base: null, heard_at: null },
    store: { shipped_lsn: null, pending_segments: 0, failing_since: null, error: null },
  };
}
