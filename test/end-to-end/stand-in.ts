import { chmodSync, copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "vitest";
import type { InstanceView } from "../../contract/instance.ts";
import { isStable } from "../../contract/instance-status.ts";
import { until } from "./client.ts";
import { Cluster } from "./cluster.ts";

export type Rules = Partial<Record<"test" | "build" | "serve", "fail" | "silent" | "die" | "slow" | "verbose">>;

/** A control plane and a host on which the engine's program is stood in for, with one instance that is not provisioned. */
export async function standIn({ onTestFinished }: Pick<TestContext, "onTestFinished">) {
  const cluster = await Cluster.start([], { docker: null });
  onTestFinished(() => cluster.close());
  const bin = join(cluster.folder, "stand-in");
  mkdirSync(bin, { mode: 0o755 });
  copyFileSync(join(import.meta.dirname, "stand-in-engine.mjs"), join(bin, "lamplighter-engine"));
  chmodSync(join(bin, "lamplighter-engine"), 0o755);
  const rules = (what: Rules) => writeFileSync(join(bin, "stand-in-rules.json"), JSON.stringify(what));
  rules({});
  const enrol = (name: string): Promise<void> => cluster.join({ name, env: { PATH: `${bin}:${process.env.PATH}` } });
  await enrol("one");
  const send = async (method: string, path: string, body?: unknown) => {
    const { status, text } = await cluster.client.send(method, path, body === undefined ? {} : { body });
    if (status >= 300) throw new Error(`${method} ${path}: ${status} ${text}`);
    return text === "" ? null : JSON.parse(text);
  };
  const { namespace } = cluster;
  const source = {
    name: "src",
    namespace,
    host: "127.0.0.1",
    user: "u",
    password: "s3cret-of-source",
    schemas: ["shop"],
  };
  const { id: connection_id } = await send("POST", "/connections", source);
  const { id } = await send("POST", "/instances", { name: "read", namespace, connection_id, schema: "shop" });
  const view = (): Promise<InstanceView> => send("GET", `/instances/${id}`);
  const rests = (): Promise<InstanceView> =>
    until(
      () => "it does not come to rest",
      async () => {
        const now = await view();
        return isStable(now.status) && now;
      },
    );
  const act = (action: string, body?: unknown): Promise<InstanceView> =>
    send("POST", `/instances/${id}/${action}`, body);
  return { cluster, rules, view, rests, act, send, id, enrol };
}
