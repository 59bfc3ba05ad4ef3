import { setTimeout as sleep } from "node:timers/promises";
import { test } from "vitest";
import { Cluster, docker } from "./cluster.ts";
import { settled } from "./invariants.ts";
import { worker } from "./manifests.ts";
test("delete", { timeout: 600000 }, async () => {
  const cluster = await Cluster.start([{ name: "tunnel-host" }, { name: "call-host", transport: "call" }], { docker });
  try {
    for (let i = 0; i < 40; i++) {
      const v = await cluster.client.apply(worker(cluster, i % 2 ? "docker" : "process", `w-${i}`, { replicas: 2 }));
      await settled(cluster, [{ name: v.name, id: v.id, status: "running", replicas: 2, restarts: 0 }]);
      const d = cluster.client.delete(v.id);
      await sleep(Math.random() * 250);
      await cluster.killPlane();
      await sleep(Math.random() * 300);
      await cluster.startPlane();
      await d;
      const t = Date.now();
      await settled(cluster, []);
      console.log(i, Date.now() - t);
    }
  } finally { await cluster.close(); }
});
