import { createHash } from "node:crypto";
import { availableParallelism } from "node:os";
import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";
import Order from "./test/order.ts";

// The root token inside the `worker` project; its hash is the secret that wrangler.toml requires.
const rootToken = "lamp_root_test";
// Two keys, as during a rotation: k2 seals, both open.
const secretKeys = ["k2", "k1"].map((id) => `${id}:${createHash("sha256").update(id).digest("base64")}`).join(",");
process.env.ROOT_TOKEN_HASH = createHash("sha256").update(rootToken).digest("hex");

const setupFiles = "test/remove-scratch.ts";
const onRealParts = { testTimeout: 30_000, hookTimeout: 60_000 };

export default defineConfig({
  test: {
    // Most files wait for real parts: two for each core keep it busy. Vitest itself would run one at a time on two cores.
    maxWorkers: Math.max(4, availableParallelism()),
    sequence: { sequencer: Order },
    projects: [
      {
        test: {
          name: "decide",
          include: ["test/decide/**/*.test.ts", "test/*.test.ts"],
          // Nothing there is anybody's own; a process per file would load the same modules each time.
          isolate: false,
          testTimeout: 30_000,
        },
      },
      {
        plugins: [
          cloudflareTest({
            main: "./src/worker.ts",
            wrangler: { configPath: "./wrangler.toml" },
            miniflare: { bindings: { SECRET_KEYS: secretKeys, WEBHOOK_TARGETS: "any" } },
          }),
        ],
        test: {
          name: "worker",
          include: ["test/objects/**/*.test.ts", "test/api/**/*.test.ts", "test/ring/**/*.test.ts"],
          // A new workerd per file costs over a second each. Tests name their objects with random ids instead.
          isolate: false,
          testTimeout: 30_000,
          provide: { rootToken },
          globalSetup: "test/receiver-for-workers.ts",
          setupFiles: "test/cheap-passwords.ts",
        },
      },
      { test: { name: "agent", include: ["test/agent/**/*.test.ts"], setupFiles, ...onRealParts } },
      { test: { name: "keeper", include: ["test/keeper/**/*.test.ts"], setupFiles, ...onRealParts } },
      { test: { name: "gateway", include: ["test/gateway/**/*.test.ts"], ...onRealParts } },
      { test: { name: "engine", include: ["test/engine/**/*.test.ts"], setupFiles, ...onRealParts } },
      { test: { name: "cli", include: ["test/cli/**/*.test.ts"], ...onRealParts } },
      {
        test: {
          name: "end-to-end",
          include: ["test/end-to-end/**/*.test.ts"],
          globalSetup: "test/bundled-worker.ts",
          setupFiles,
          // The programs that these tests start from here import CommonJS packages as Node itself does.
          deps: { interopDefault: false },
          // Tests of one file that run at the same time do little but wait.
          maxConcurrency: 40,
          testTimeout: 300_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
