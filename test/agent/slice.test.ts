import { readFileSync } from "node:fs";
import { afterEach, expect, test } from "vitest";
import { runAgent } from "../../agent/main.ts";
import { ControlPlane } from "./control-plane.ts";
import { folder, sh, workload } from "./workload.ts";

test("slice", async () => {
  const plane = await ControlPlane.start();
  const dataDir = folder();
  const agent = await runAgent({ url: plane.url, dataDir, joinToken: plane.joinToken, transport: "tunnel", runtimes: ["process"], log: console.log });
  await plane.until(() => plane.settled.length > 0, "settled");
  const w = workload({ spec: { command: sh("id; echo hi; env; cat /proc/self/cgroup; echo x >/dev/stdout; exec sleep 100") } });
  const t = performance.now();
  await plane.apply(w);
  const r = await plane.phase(w.id, "running");
  console.log("running after", performance.now() - t, r);
  await new Promise(r => setTimeout(r, 300));
  console.log(JSON.stringify(await plane.ask({ verb: "logs", query: { workload_id: w.id, generation: 1, tail: null, since: null, follow: false } }), null, 1));
  console.log(JSON.stringify(await plane.ask({ verb: "stats", workload_ids: [w.id] })));
  console.log(JSON.stringify(await plane.ask({ verb: "exec", workload_id: w.id, generation: 1, command: ["sh", "-c", "pwd; id"], timeout_ms: 1000 })));
  const shim = JSON.parse(readFileSync(`${dataDir}/process/${w.id}/g1/shim.json`, "utf8"));
  console.log(readFileSync(`/proc/${shim.pid}/status`, "utf8").match(/(VmRSS|RssAnon|RssFile|Threads).*/g), readFileSync(`/proc/${shim.pid}/cgroup`, "utf8"));
  const t2 = performance.now();
  await plane.apply({ ...w, want: "gone" });
  await plane.phase(w.id, "gone");
  console.log("gone after", performance.now() - t2);
  for (let i = 0; i < 5; i++) { const t = performance.now(); const x = workload({ spec: { command: sh("exit 3") } }); await plane.apply(x); console.log(JSON.stringify(await plane.phase(x.id, "exited")), performance.now() - t); }
  for (let i = 0; i < 5; i++) { const t = performance.now(); const x = workload({}); await plane.apply(x); await plane.phase(x.id, "running"); const t1 = performance.now(); await plane.apply({...x, want: "gone"}); await plane.phase(x.id, "gone"); console.log(t1 - t, performance.now() - t1); }
  console.log(plane.heard.map((f) => JSON.stringify(f.body).slice(0, 100)));
  await agent.close();
  await plane.close();
});
