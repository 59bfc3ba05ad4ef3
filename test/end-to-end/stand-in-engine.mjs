#!/usr/bin/env node
// Stands in for the engine's program where only the control plane's side is tested: it reports as that does, reads no source, and answers [] to
// every query, at once or ("slow") after a moment. What it does about a task is said by a file beside it: `{"build": "fail"}`, `{"test": "silent"}`;
// `verbose` takes its time and writes meanwhile.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

const { env } = process;
const [, , what] = process.argv;
const task = JSON.parse(env.LAMPLIGHTER_ENGINE_TASK);
const rule = JSON.parse(readFileSync(new URL("stand-in-rules.json", import.meta.url), "utf8"))[what];

async function report(body) {
  const said = {
    workload_id: env.LAMPLIGHTER_WORKLOAD_ID,
    generation: Number(env.LAMPLIGHTER_WORKLOAD_GENERATION),
    operation: task.operation,
    body,
  };
  for (;;) {
    const answer = await fetch(env.LAMPLIGHTER_URL + env.LAMPLIGHTER_REPORT_PATH, {
      method: "POST",
      headers: { authorization: `Bearer ${env.LAMPLIGHTER_REPORT_TOKEN}`, "content-type": "application/json" },
      body: JSON.stringify(said),
    }).catch(() => null);
    if (answer !== null && answer.status < 500) {
      console.log(`${body.kind}: ${answer.status}`);
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

const hash = "b".repeat(64);
if (rule === "silent") await new Promise(() => setInterval(() => {}, 1000));
if (rule === "verbose" || rule === "die") {
  console.log(`${what} of ${env.LAMPLIGHTER_WORKLOAD_GENERATION} begins`);
  console.error("a complaint");
}
if (rule === "verbose") {
  await new Promise((resolve) => setTimeout(resolve, 2000));
  console.log("it goes on");
}
if (rule === "die") process.exit(3);
if (what === "test") {
  const replication = { mode: "binlog", ready: true };
  const found = { server_version: "stand-in", latency_ms: 1, estimated_bytes: 1, schemas: ["shop"], replication };
  await report({ kind: "tested", test: { ok: true, error: null, ...found, findings: [] } });
}
if (what === "build") {
  await report({ kind: "artifact", hash, part: 0, parts: 1, text: "export {}" });
  const good = { ok: true, artifact: { hash, bytes: 9 }, schema_hash: "s", tables: 1, warnings: [] };
  const bad = { ok: false, code: "config_invalid", message: "no such table", violations: [] };
  await report({ kind: "built", result: rule === "fail" ? bad : good });
}
if (what === "serve") {
  createServer((_request, response) => setTimeout(() => response.end("[]"), rule === "slow" ? 30 : 0)).listen(
    Number(env.PORT),
    "127.0.0.1",
  );
  process.on("SIGTERM", () => process.exit(0));
  await report({ kind: "loaded", rows: 3, tables: 1 });
}
