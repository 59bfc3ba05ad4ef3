import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { build } from "esbuild";
import { startChild } from "../cli/up/child.ts";
import { COMPATIBILITY_DATE } from "../cli/up/serve-config.ts";
import { freePort } from "../test/free-port.ts";
import type { Setting } from "./figure.ts";

// The package carries no types.
const { default: workerd } = createRequire(import.meta.url)("workerd") as { default: string };

/** Starts a bare Hono app on the same workerd, and answers its port. */
export async function startHello(folder: string, register: Setting["after"]): Promise<number> {
  const outfile = join(folder, "hello.js");
  await build({
    entryPoints: [join(import.meta.dirname, "hello-worker.ts")],
    outfile,
    bundle: true,
    format: "esm",
    platform: "neutral",
    target: "es2024",
    mainFields: ["module", "main"],
    conditions: ["workerd", "worker", "browser"],
    minifyWhitespace: true,
    logLevel: "silent",
  });
  const port = await freePort();
  const config = join(folder, "hello.capnp");
  writeFileSync(
    config,
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = .hello)],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")],
);
const hello :Workerd.Worker = (
  modules = [(name = "hello.js", esModule = embed "hello.js")],
  compatibilityDate = "${COMPATIBILITY_DATE}",
);
`,
  );
  const child = startChild({
    command: workerd,
    args: ["serve", config],
    cwd: folder,
    logPath: join(folder, "logs", "hello.log"),
  });
  register(() => child.stop(1000));
  const ended = child.exited.then(() => true);
  for (;;) {
    const up = await fetch(`http://127.0.0.1:${port}/`).then(
      (response) => response.ok,
      () => false,
    );
    if (up) return port;
    if (await Promise.race([ended, sleep(20, false)])) throw new Error(`the bare workerd ended: ${child.logTail()}`);
  }
}
