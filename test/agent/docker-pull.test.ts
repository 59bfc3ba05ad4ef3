import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { Observation, Workload, WorkloadSpec } from "../../contract/workload.ts";
import { engineNames, engineParts, Harness, never, pause, type Running, until } from "./docker-harness.ts";
import { Registry } from "./docker-registry.ts";

describe.each(engineNames)("pulls by %s", (runtime) => {
  const part = engineParts[runtime];
  describe.skipIf(!part.available)(`${part.reason || "available"}`, () => {
    let harness: Harness;
    let running: Running;
    let registry: Registry;
    const folder = mkdtempSync(join(tmpdir(), "lamplighter-registries-"));

    beforeAll(async () => {
      registry = await new Registry().open();
      // Docker trusts a registry on loopback without TLS; Podman has to be told.
      const file = join(folder, "registries.conf");
      writeFileSync(file, `[[registry]]\nlocation = "${registry.host}"\ninsecure = true\n`);
      process.env.CONTAINERS_REGISTRIES_CONF = file;
      harness = await Harness.open(runtime, part);
      running = await harness.start();
    });
    afterAll(async () => {
      delete process.env.CONTAINERS_REGISTRIES_CONF;
      for (const { Id, RepoTags, RepoDigests } of (await harness?.engine.listImages()) ?? []) {
        const names = [...(RepoTags ?? []), ...(RepoDigests ?? [])];
        if (!names.some((name) => name.startsWith(registry.host))) continue;
        await harness.sweep();
        await harness.engine
          .getImage(Id)
          .remove({ force: true })
          .catch(() => undefined);
      }
      await harness?.close();
      await registry?.close();
      rmSync(folder, { recursive: true, force: true });
    });

    const raise = async (
      spec: Partial<WorkloadSpec>,
      signal = never,
    ): Promise<{ workload: Workload; seen: Observation }> => {
      const workload = harness.workload(spec);
      return { workload, seen: await running.driver.apply(workload, signal) };
    };
    const name = (folder = "public") => `${folder}/${randomBytes(4).toString("hex")}`;
    const credentials = (password = registry.password) => ({ server: null, username: registry.username, password });
    const back = (reason: string) => ({ phase: "failed", failure: { kind: "image_pull_back_off", reason } });

    test("an absent image is pulled, with progress, and its digest is told", async () => {
      const { image, digest } = await registry.publish(harness.engine, name(), "1", 400_000);
      registry.slowness = 1_500;
      const { workload, seen } = await raise({ image, registry: credentials() });
      registry.slowness = 0;
      expect(seen).toMatchObject({ phase: "running", image_digest: digest });
      const told = running.seen
        .filter((it) => it.id === workload.id)
        .map((it) => (it.phase === "preparing" ? it.message : it.phase));
      expect(told[0]).toBe(`pulling ${image}`);
      expect(told.length).toBeLessThan(8);
      if (runtime === "docker") expect(told.some((it) => /^pulling .* \d+ %$/.test(it))).toBe(true);
    });

    test("a Docker config.json of a secret, or of the host, has the credentials too", async () => {
      const auth = Buffer.from(`${registry.username}:${registry.password}`).toString("base64");
      const registry_config = JSON.stringify({ auths: { [registry.host]: { auth } } });
      const first = await registry.publish(harness.engine, name("private"), "1");
      expect((await raise({ image: first.image, registry_config })).seen.phase).toBe("running");
      const second = await registry.publish(harness.engine, name("private"), "1");
      expect((await raise({ image: second.image })).seen).toMatchObject({ phase: "failed" });
      const folder = mkdtempSync(join(tmpdir(), "lamplighter-docker-config-"));
      writeFileSync(join(folder, "config.json"), registry_config);
      vi.stubEnv("DOCKER_CONFIG", folder);
      expect((await raise({ image: second.image, use_host_auth: true })).seen.phase).toBe("running");
      vi.unstubAllEnvs();
      rmSync(folder, { recursive: true });
    });

    test("IfNotPresent asks no registry for what is here; Never neither; Always does", async () => {
      const { image, digest } = await registry.publish(harness.engine, name(), "1");
      const first = await raise({ image, registry: credentials() });
      expect(first.seen).toMatchObject({ phase: "running", image_digest: digest });
      const newer = await registry.publish(harness.engine, image.slice(registry.host.length + 1, -2), "1");
      const policy = async (image_pull_policy: WorkloadSpec["image_pull_policy"]) =>
        (await raise({ image, image_pull_policy, registry: credentials() })).seen;
      expect(await policy("IfNotPresent")).toMatchObject({ image_digest: digest });
      expect(await policy("Never")).toMatchObject({ image_digest: digest });
      expect(await policy("Always")).toMatchObject({ image_digest: newer.digest });
      expect(registry.fetched.get(newer.layer)).toBe(1);
    });

    test("an image by its digest is pulled once", async () => {
      const at = name();
      const { digest, layer } = await registry.publish(harness.engine, at, "1");
      const image = `${registry.host}/${at}@${digest}`;
      for (const image_pull_policy of ["Always", "Always", "IfNotPresent"] as const) {
        expect((await raise({ image, image_pull_policy, registry: credentials() })).seen).toMatchObject({
          phase: "running",
          image_digest: digest,
        });
      }
      expect(registry.fetched.get(layer)).toBe(1);
    });

    test("many that want the same image at once share one pull", async () => {
      const { image, layer } = await registry.publish(harness.engine, name(), "1", 100_000);
      registry.slowness = 500;
      const all = await Promise.all(
        [1, 2, 3].map(() => raise({ image, image_pull_policy: "Always", registry: credentials() })),
      );
      registry.slowness = 0;
      expect(all.map((it) => it.seen.phase)).toEqual(["running", "running", "running"]);
      expect(registry.fetched.get(layer)).toBe(1);
    });

    test("an apply that is no longer wanted does not wait for its pull", async () => {
      const { image } = await registry.publish(harness.engine, name(), "1", 100_000);
      registry.slowness = 4_000;
      const abort = new AbortController();
      const begun = Date.now();
      const raising = raise({ image, registry: credentials() }, abort.signal);
      await until("the pull", () => running.seen.some((it) => it.phase === "preparing" && it.message.includes(image)));
      await pause(100);
      abort.abort();
      const { workload, seen } = await raising;
      registry.slowness = 0;
      expect(seen.phase).toBe("stopping");
      expect(Date.now() - begun).toBeLessThan(2_500);
      expect(await harness.containers(workload)).toEqual([]);
    });

    test("a private image needs the right credentials, and they stay secret", async () => {
      const { image, digest } = await registry.publish(harness.engine, name("private"), "1");
      for (const wrong of [null, credentials("wrong-password")]) {
        const { seen } = await raise({ image, registry: wrong });
        expect(seen).toMatchObject(back("registry_auth_failed"));
        expect(seen).toMatchObject({
          failure: { message: expect.stringMatching(/^registry authentication failed for '/) },
        });
        expect(JSON.stringify([seen, running.log])).not.toContain("wrong-password");
      }
      const { seen } = await raise({ image, registry: credentials() });
      expect(seen).toMatchObject({ phase: "running", image_digest: digest });
      expect(JSON.stringify([running.seen, running.log])).not.toContain(registry.password);
    });

    test("credentials for one registry are not sent to another", async () => {
      const { seen } = await raise({
        image: `${registry.host}/public/x:1`,
        registry: { ...credentials(), server: "registry.example.com" },
      });
      expect(seen).toMatchObject({ phase: "failed", failure: { kind: "config_error", reason: "registry_mismatch" } });
    });

    test("an image that does not exist", async () => {
      const image = `${registry.host}/${name()}:1`;
      const { seen } = await raise({ image, registry: credentials() });
      expect(seen).toMatchObject(back("image_not_found"));
      expect(seen).toMatchObject({ failure: { message: expect.stringContaining(`Image '${image}' not found: `) } });
    });

    test("Never forbids", async () => {
      const image = `${registry.host}/${name()}:1`;
      const { seen } = await raise({ image, image_pull_policy: "Never" });
      expect(seen).toMatchObject(back("image_not_present"));
      expect(seen).toMatchObject({
        failure: { message: `image_pull_policy=Never forbids pulling '${image}', which is not on this host` },
      });
    });

    test("a registry that nobody answers for", async () => {
      const image = "127.0.0.1:9/no/registry:1";
      const { seen } = await raise({ image });
      expect(seen).toMatchObject(back("registry_unreachable"));
      expect(seen).toMatchObject({
        failure: { message: expect.stringContaining(`cannot reach the registry for '${image}' — `) },
      });
    });
  });
});
