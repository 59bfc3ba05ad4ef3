// Sends SQL over kept connections, one statement at a time on each, and tells how long each took. A program of its own, as bench/load.ts is.
import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import mysql from "mysql2/promise";
import pg from "pg";
import type { Loaded } from "./load.ts";

export type SqlLoad = {
  kind: "mysql" | "postgres";
  connection: { host: string; port: number; user: string; password: string; database: string };
  connections: number;
  ms: number;
  /** Taken in turn. */
  statements: string[];
};

export async function sqlLoad(asked: SqlLoad): Promise<Loaded> {
  const child = spawn(process.execPath, [import.meta.filename], { stdio: ["pipe", "pipe", "inherit"] });
  child.stdin.end(JSON.stringify(asked));
  const answer = await text(child.stdout);
  if (answer === "") throw new Error("the load generator failed");
  return JSON.parse(answer) as Loaded;
}

type Client = { query(sql: string): Promise<unknown>; end(): Promise<void> };

async function open({ kind, connection }: SqlLoad): Promise<Client> {
  if (kind === "mysql") return await mysql.createConnection(connection);
  const client = new pg.Client(connection);
  await client.connect();
  return client;
}

async function generate(asked: SqlLoad): Promise<Loaded> {
  const clients = await Promise.all(Array.from({ length: asked.connections }, () => open(asked)));
  const latencies: number[] = [];
  let begun = 0;
  const started = performance.now();
  await Promise.all(
    clients.map(async (client) => {
      while (performance.now() - started < asked.ms) {
        const from = performance.now();
        await client.query(asked.statements[begun++ % asked.statements.length] as string);
        latencies.push(performance.now() - from);
      }
    }),
  );
  const ms = performance.now() - started;
  for (const client of clients) await client.end();
  return { ms, latencies, refused: 0 };
}

if (import.meta.main)
  process.stdout.write(JSON.stringify(await generate(JSON.parse(await text(process.stdin)) as SqlLoad)));
