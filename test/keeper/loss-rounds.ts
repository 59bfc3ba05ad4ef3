// Rounds of concurrent commits, each ended by a fault: after the next start every acknowledged commit is there.
import { readdirSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "vitest";
import { KeeperClient } from "../../agent/postgres/keeper-client.ts";
import { processesOf } from "../../agent/postgres/postmaster.ts";
import type { StartOrder } from "../../agent/postgres/writer.ts";
import { signal, startOf } from "../../agent/process/pid.ts";
import { parseSegmentName, SEGMENT_BYTES } from "../../postgres/lsn.ts";
import { random } from "../random.ts";
import { rounds } from "../rounds.ts";
import { scratch } from "../scratch.ts";
import { Commits, makeTable, missingRows } from "./commits.ts";
import { KeeperProcess } from "./keeper-process.ts";
import { orderFor, PostgresHost, until } from "./postgres-host.ts";

/** Of all files together: with one keeper, with two, and with three. */
export const ROUNDS = rounds(10);
const SEED = Number(process.env.LAMPLIGHTER_SEED ?? Math.floor(Math.random() * 1e9));
const DATABASE = "db_loss";
const CLIENTS = 4;

const FAULTS = [
  "postgres is killed",
  "one backend is killed",
  "a keeper is killed, and comes back",
  "a keeper is killed with postgres",
  "the data folder is lost",
  "the data folder is lost while a keeper is dead",
  "the data folder goes from under postgres",
  "a clean stop",
  "a clean stop, then the data folder is lost",
  "postgres is killed, then a file is damaged",
  "a clean stop, then a file is damaged",
] as const;
type Fault = (typeof FAULTS)[number];

export class LossRounds {
  readonly #keepers: readonly KeeperProcess[];
  readonly #host: PostgresHost;
  readonly #quorum: number;
  readonly #rnd = random(SEED);
  readonly #commits = new Commits();
  #order: StartOrder | null = null;

  static async make(keepers: number, quorum: number): Promise<LossRounds> {
    console.log(`LAMPLIGHTER_SEED=${SEED} LAMPLIGHTER_CHAOS_ROUNDS=${ROUNDS} replays these choices`);
    const log = process.env.LAMPLIGHTER_LOUD ? (line: string) => console.log(line) : () => {};
    // Small, so that base backups and retention are in the middle of it too.
    const retention = { bases: 2, windowMs: 0, baseEveryBytes: 96 * 1024 ** 2 };
    const processes = Array.from({ length: keepers }, (_, i) => {
      const name = `keeper_${i}`;
      return new KeeperProcess({ dataDir: scratch(name), name, retention });
    });
    const [host] = await Promise.all([PostgresHost.make({ log }), ...processes.map((keeper) => keeper.start())]);
    return new LossRounds(host, processes, quorum);
  }

  private constructor(host: PostgresHost, keepers: readonly KeeperProcess[], quorum: number) {
    this.#host = host;
    this.#keepers = keepers;
    this.#quorum = quorum;
  }

  async run(rounds: number): Promise<void> {
    const rungs: Record<string, number> = {};
    await this.#start();
    await makeTable(this.#running);
    for (let round = 1; round <= rounds; round++) {
      await this.#commits.begin(this.#running, CLIENTS);
      await sleep(30 + this.#rnd.int(170));
      if (this.#rnd.chance(0.4)) await this.#switchSegment();
      const fault = this.#rnd.pick(FAULTS);
      const before = this.#commits.acknowledged.size;
      if (process.env.LAMPLIGHTER_LOUD) console.log(`round ${round}: ${fault}`);
      await this.#strike(fault);
      await this.#commits.end();
      if (fault !== "a keeper is killed, and comes back") {
        const { rung, why } = await this.#start();
        rungs[rung] = (rungs[rung] ?? 0) + 1;
        expect(why, fault).not.toBe("it has never been written to");
      }
      const missing = await missingRows(this.#running, this.#commits.acknowledged);
      expect(missing, `round ${round}, after ${before} commits: ${fault}`).toEqual([]);
    }
    const { size } = this.#commits.acknowledged;
    expect(size).toBeGreaterThan(rounds);
    console.log(
      `${rounds} rounds, ${size} acknowledged commits, none missing; starts by rung: ${JSON.stringify(rungs)}`,
    );
  }

  async close(): Promise<void> {
    await this.#host.close();
    for (const keeper of this.#keepers) {
      await keeper.kill();
      rmSync(keeper.options.dataDir, { recursive: true, force: true });
    }
  }

  async #strike(fault: Fault): Promise<void> {
    const host = this.#host;
    const keeper = this.#rnd.pick(this.#keepers);
    const { pgdata } = host.writers.cluster(DATABASE);
    switch (fault) {
      case "postgres is killed":
        return host.crash(DATABASE);
      case "one backend is killed": {
        const [postmaster = 0, ...others] = processesOf(pgdata).sort((x, y) => x - y);
        signal(this.#rnd.pick(others), "SIGKILL");
        // It ends whole, and nobody gets in before the keepers have what it recovers.
        return until("PostgreSQL ends", async () => (await startOf(postmaster)) === null);
      }
      case "a keeper is killed, and comes back":
        return this.#without(keeper);
      case "a keeper is killed with postgres":
        await Promise.all(
          this.#rnd.chance(0.5) ? [keeper.kill(), host.crash(DATABASE)] : [host.crash(DATABASE), keeper.kill()],
        );
        return keeper.start();
      case "the data folder is lost":
        return host.wipe(DATABASE);
      case "the data folder is lost while a keeper is dead":
        await keeper.kill();
        await host.wipe(DATABASE);
        return keeper.start();
      case "the data folder goes from under postgres": {
        // Out of its sight first: into a folder that is being emptied it would go on writing.
        const gone = `${pgdata}.gone`;
        renameSync(join(pgdata, this.#rnd.chance(0.5) ? "pg_wal" : "base"), gone);
        rmSync(gone, { recursive: true, force: true });
        await sleep(this.#rnd.int(50));
        return host.wipe(DATABASE);
      }
      case "a clean stop":
        await host.writers.stop(this.#running);
        return;
      case "a clean stop, then the data folder is lost":
        await host.writers.stop(this.#running);
        return host.wipe(DATABASE);
      case "postgres is killed, then a file is damaged":
        await host.crash(DATABASE);
        return this.#damage(pgdata);
      case "a clean stop, then a file is damaged":
        await host.writers.stop(this.#running);
        return this.#damage(pgdata);
    }
  }

  /** What PostgreSQL needs to start, and the end of its log, also where nobody can tell that something is missing. */
  #damage(pgdata: string): void {
    const segments = readdirSync(join(pgdata, "pg_wal")).filter((name) => parseSegmentName(name) !== null);
    const written = segments.sort().filter((name) => isWritten(join(pgdata, "pg_wal", name)));
    const [control, map, last] = ["global/pg_control", "global/pg_filenode.map", `pg_wal/${written.at(-1)}`].map(
      (name) => join(pgdata, name),
    ) as [string, string, string];
    const bytes = readFileSync(last);
    const used = bytes.findLastIndex((byte) => byte !== 0);
    this.#rnd.pick([
      () => rmSync(this.#rnd.pick([control, map, last])),
      () => truncateSync(this.#rnd.pick([control, map, last]), 200),
      () => writeFileSync(map, Buffer.alloc(512, 7)),
      () => writeFileSync(last, bytes.fill(0, Math.max(0, used - this.#rnd.int(65_536)))),
    ])();
  }

  /** Without a quorum nothing is acknowledged, and what waited is once there is one again. With one, nothing waits. */
  async #without(keeper: KeeperProcess): Promise<void> {
    const { acknowledged } = this.#commits;
    await keeper.kill();
    await sleep(100);
    const then = acknowledged.size;
    if (this.#keepers.length - 1 < this.#quorum) {
      await sleep(100);
      expect(acknowledged.size).toBe(then);
    } else await until("commits are acknowledged by the others", async () => acknowledged.size > then);
    await keeper.start();
    await until("commits are acknowledged", async () => acknowledged.size > then);
    await until("it follows again", async () => {
      const { following } = await new KeeperClient(keeper.address, DATABASE).status();
      return following.state === "streaming" && following.term === this.#running.term;
    });
  }

  async #start() {
    const addresses = this.#keepers.map(({ address }) => address);
    this.#order = await orderFor(DATABASE, (this.#order?.term ?? 0) + 1, addresses, { quorum: this.#quorum });
    return this.#host.start(this.#order);
  }

  async #switchSegment(): Promise<void> {
    const postmaster = await this.#host.writers.running(this.#running);
    const connection = await postmaster?.connect("postgres");
    await connection?.query("SELECT pg_switch_wal()");
    connection?.end();
  }

  get #running(): StartOrder {
    if (this.#order === null) throw new Error("nothing has been started");
    return this.#order;
  }
}

/** Its first page names it; one that was made ahead has another's name, or none. */
function isWritten(path: string): boolean {
  const { segment = -1 } = parseSegmentName(path.slice(-24)) ?? {};
  return readFileSync(path).readBigUInt64LE(8) === BigInt(segment) * BigInt(SEGMENT_BYTES);
}
