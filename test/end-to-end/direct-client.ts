// A client beside a writer, whatever becomes of the network around: it reads and writes without a gateway, and says what it was answered and when.
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import pg from "pg";

export type Said = { at: number; what: "read" | "wrote" | "failed"; n: number };

const EVERY_MS = 40;
const FIRST = 1_000_000;

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const options = { ...JSON.parse(process.argv[2] ?? "{}"), connectionTimeoutMillis: 1_000 } as pg.ClientConfig;
  const say = (said: Said) => console.log(JSON.stringify(said));
  const loop = async (ask: (client: pg.Client, n: number) => Promise<Said["what"]>): Promise<void> => {
    let client: pg.Client | null = null;
    for (let n = FIRST; ; n++) {
      try {
        if (client === null) {
          client = new pg.Client(options);
          client.on("error", () => {});
          await client.connect();
        }
        const what = await ask(client, n);
        say({ at: Date.now(), what, n });
      } catch {
        say({ at: Date.now(), what: "failed", n });
        await client?.end().catch(() => {});
        client = null;
      }
      await sleep(EVERY_MS);
    }
  };
  await Promise.all([
    loop(async (client) => {
      await client.query("SELECT count(*) FROM load");
      return "read";
    }),
    loop(async (client, n) => {
      await client.query("INSERT INTO load VALUES ($1)", [n]);
      return "wrote";
    }),
  ]);
}

export class DirectClient {
  readonly said: Said[] = [];
  readonly #child: ChildProcess;

  /** @param run how a program is run where the writer is */
  constructor(run: readonly string[], options: pg.ClientConfig) {
    const [command = "", ...args] = [
      ...run,
      process.execPath,
      fileURLToPath(import.meta.url),
      JSON.stringify({ ...options, ssl: { rejectUnauthorized: false } }),
    ];
    this.#child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
    createInterface({ input: this.#child.stdout as NodeJS.ReadableStream }).on("line", (line) =>
      this.said.push(JSON.parse(line) as Said),
    );
  }

  of(what: Said["what"]): Said[] {
    return this.said.filter((one) => one.what === what);
  }

  end(): void {
    this.#child.kill("SIGKILL");
  }
}
