import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { engineNames, engineParts, Harness, never, type Running } from "./docker-harness.ts";

describe.each(engineNames)("configs and secrets as files, on %s", (runtime) => {
  const part = engineParts[runtime];
  describe.skipIf(!part.available)(`${part.reason || "available"}`, () => {
    let harness: Harness;
    let running: Running;
    beforeAll(async () => {
      harness = await Harness.open(runtime, part);
      running = await harness.start();
    });
    afterAll(() => harness?.close());

    test("are read-only, for every user of the container and nobody else of the host, and go with it", async () => {
      const workload = harness.workload({
        user: { id: 1234, group: 1234, privileged: false },
        files: [
          { destination: "/etc/app/app.json", content: '{"a":1}\n' },
          { destination: "/run/key", content: "key ✓" },
        ],
      });
      const seen = await running.driver.apply(workload, never);
      expect(seen).toMatchObject({ phase: "running" });
      const run = async (text: string) =>
        running.driver.exec(workload.id, 1, ["sh", "-c", text], 10_000).then(({ stdout }) => stdout.trim());
      expect(await run("cat /etc/app/app.json /run/key")).toBe('{"a":1}\nkey ✓');
      expect(await run("echo x > /run/key 2>/dev/null || echo refused")).toBe("refused");
      const folder = join(harness.stateDir, "files");
      expect(statSync(folder).mode & 0o777).toBe(0o700);
      // Again, as after an answer that was lost: the same container.
      expect(await running.driver.apply(workload, never)).toMatchObject({ phase: "running" });
      await running.driver.remove(workload.id, 1, 0);
      expect(existsSync(folder) ? readdirSync(folder) : []).toEqual([]);
    });

    test("a registry config that has nothing for the image's registry is told, without what is in it", async () => {
      const workload = harness.workload({
        image: "registry.invalid/x:1",
        image_pull_policy: "Always",
        registry_config: JSON.stringify({ auths: { "other.example.com": { auth: "c2VjcmV0OnNlY3JldA==" } } }),
      });
      const seen = await running.driver.apply(workload, never);
      expect(seen).toMatchObject({
        phase: "failed",
        failure: {
          kind: "config_error",
          reason: "registry_config_unusable",
          message: "the secret of `image_pull_secret` cannot be used: it has no credentials for registry.invalid",
        },
      });
    });
  });
});
