import { createSocket } from "node:dgram";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { creation } from "../../agent/docker/creation.ts";
import { containerName, networkName, volumeName } from "../../agent/docker/naming.ts";
import type { Mount, Observation, Workload, WorkloadSpec } from "../../contract/workload.ts";
import { testImage } from "../docker-image.ts";
import { freePort } from "../free-port.ts";
import { engineNames, engineParts, Harness, never, type Running, until } from "./docker-harness.ts";

describe.each(engineNames)("what a spec asks for, on %s", { concurrent: true }, (runtime) => {
  const part = engineParts[runtime];
  describe.skipIf(!part.available)(`${part.reason || "available"}`, () => {
    let harness: Harness;
    let running: Running;

    beforeAll(async () => {
      harness = await Harness.open(runtime, part);
      running = await harness.start();
    });
    afterAll(() => harness?.close());

    const raise = (workload: Workload) => running.driver.apply(workload, never);
    const up = async (
      spec: Partial<WorkloadSpec>,
    ): Promise<{ workload: Workload; seen: Observation & { phase: "running" } }> => {
      const workload = harness.workload(spec);
      const seen = await raise(workload);
      if (seen.phase !== "running") throw new Error(JSON.stringify(seen));
      return { workload, seen };
    };
    const run = async ({ id, generation }: Workload, ...command: string[]) =>
      running.driver.exec(id, generation, command, 10_000);
    const say = async (workload: Workload, text: string) => (await run(workload, "sh", "-c", text)).stdout.trim();

    test("user, group, folder, environment and command", async () => {
      const { workload } = await up({
        user: { id: 1234, group: 4321, privileged: false },
        working_dir: "/tmp",
        environment: { WITH_SPACES: "a b  c", EMPTY: "", EQUALS: "a=b=c", LINES: "one\ntwo" },
        command: ["sh", "-c", 'id -u > /tmp/who; pwd >> /tmp/who; printf %s "$LINES" >> /tmp/who; sleep 1000'],
      });
      expect(await until("the file", () => say(workload, "cat /tmp/who"))).toBe("1234\n/tmp\none\ntwo");
      expect(await say(workload, "id -g")).toBe("4321");
      expect(await say(workload, 'echo "[$WITH_SPACES][$EMPTY][$EQUALS]"')).toBe("[a b  c][][a=b=c]");
    });

    test("limits are the engine's, without swap; a smaller request is a reservation", async () => {
      const { workload } = await up({
        cpu_limit_millis: 250,
        memory_limit_bytes: 64 << 20,
        memory_reserved_bytes: 16 << 20,
      });
      const { HostConfig } = await harness.inspect(workload);
      expect(HostConfig).toMatchObject({ Memory: 64 << 20, MemorySwap: 64 << 20, MemoryReservation: 16 << 20 });
      const cpu = HostConfig.NanoCpus || ((HostConfig.CpuQuota ?? 0) * 1e9) / (HostConfig.CpuPeriod || 100_000);
      expect(cpu).toBe(250_000_000);
    });

    test("privileged or not", async () => {
      // Only made, not started: a machine in a sandbox may not run one.
      const context = { hostId: harness.hostId, runtime, init: true };
      for (const privileged of [true, false]) {
        const workload = harness.workload({ network: "host", user: { id: null, group: null, privileged } });
        await harness.engine.createContainer(creation(workload, context));
        expect((await harness.inspect(workload)).HostConfig.Privileged).toBe(privileged);
      }
    });

    test("tcp ports, on the address that is asked for; udp ports are bound there", async () => {
      const [web, echo] = [await freePort(), await freePort()];
      const { workload, seen } = await up({
        command: ["httpd", "-f", "-p", "80", "-h", "/www"],
        ports: [
          { published: web, target: 80, protocol: "tcp", host_ip: "127.0.0.1" },
          { published: echo, target: 7777, protocol: "udp", host_ip: "127.0.0.1" },
        ],
      });
      const fetched = (address: string) =>
        fetch(`http://${address}/`).then(
          (it) => it.text(),
          () => "",
        );
      expect(await until("the web server", () => fetched(`127.0.0.1:${web}`))).toContain("lamplighter");
      expect(await fetched(seen.address ?? "")).toContain("lamplighter");
      const { Ports } = (await harness.inspect(workload)).NetworkSettings;
      expect(Ports["7777/udp"]).toEqual([{ HostIp: "127.0.0.1", HostPort: String(echo) }]);
      // The image has no UDP server to answer, but nobody else can have the port now.
      expect(await udpBindable(echo)).toBe(false);
    });

    test.each(["tcp", "udp"] as const)("a %s port that is taken is named", async (protocol) => {
      const published = await freePort();
      const ports = [{ published, target: 80, protocol, host_ip: "127.0.0.1" }];
      await up({ ports });
      const second = harness.workload({ ports });
      const answer = await raise(second);
      expect(answer).toMatchObject({
        phase: "failed",
        failure: { kind: "create_container_error", reason: "port_taken" },
      });
      if (answer.phase === "failed") expect(answer.failure.message).toContain(`port ${published}/${protocol}`);
      expect(await harness.containers(second)).toEqual([]);
    });

    test("the host's network has no address of its own", async () => {
      const { workload, seen } = await up({ network: "host", ports: [{ published: 7, target: 7, protocol: "tcp" }] });
      expect(seen.address).toBeNull();
      expect((await harness.inspect(workload)).HostConfig.NetworkMode).toBe("host");
    });

    test("bind mounts, writable and not", async () => {
      const folder = mkdtempSync(join(tmpdir(), "lamplighter-bind-"));
      try {
        writeFileSync(join(folder, "file"), "from the host");
        const mount = { type: "bind", source: folder, driver: "local" } as const;
        const { workload } = await up({
          mounts: [
            { ...mount, destination: "/ro", permission: "ro" },
            { ...mount, destination: "/rw", permission: "rw" },
          ],
        });
        expect(await say(workload, "cat /ro/file")).toBe("from the host");
        expect((await run(workload, "sh", "-c", "echo x > /ro/no")).exit_code).not.toBe(0);
        expect((await run(workload, "sh", "-c", "echo x > /rw/yes")).exit_code).toBe(0);
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    });

    test("a named volume outlives its containers and belongs to its namespace", async () => {
      const mounts: Mount[] = [
        { type: "volume", source: "data", destination: "/data", driver: "local", permission: "rw" },
      ];
      const { workload } = await up({ mounts });
      await run(workload, "sh", "-c", "echo kept > /data/file");
      await running.driver.remove(workload.id, 1, 0);
      const { workload: next } = await up({ mounts });
      expect(await say(next, "cat /data/file")).toBe("kept");
      const { workload: foreign } = await up({ mounts, namespace: `${harness.namespace}-b` });
      expect(await say(foreign, "ls /data")).toBe("");
      const volume = await harness.engine.getVolume(volumeName(harness.namespace, "data")).inspect();
      expect(volume.Labels).toMatchObject({ "lamplighter.namespace": harness.namespace });
    });

    test("an image's anonymous volumes go with the container", async () => {
      const tag = `lamplighter/volumes-${harness.namespace}:1`;
      const container = await harness.engine.createContainer({ Image: testImage });
      const [repo, version] = tag.split(":");
      await container.commit({ repo, tag: version, changes: "VOLUME /anonymous" } as never);
      await container.remove();
      try {
        const { workload } = await up({ image: tag });
        const volume =
          (await harness.inspect(workload)).Mounts.find((it) => it.Destination === "/anonymous")?.Name ?? "";
        await harness.engine.getVolume(volume).inspect();
        await running.driver.remove(workload.id, 1, 0);
        await expect(harness.engine.getVolume(volume).inspect()).rejects.toMatchObject({ statusCode: 404 });
      } finally {
        await harness.engine.getImage(tag).remove({ force: true });
      }
    });

    test("a namespace's workloads reach each other; another namespace's do not reach them", async () => {
      const { workload: backend, seen } = await up({
        name: "backend",
        command: ["httpd", "-f", "-p", "80", "-h", "/www"],
      });
      const { workload: neighbour } = await up({});
      const { workload: stranger } = await up({ namespace: `${harness.namespace}-c` });
      const get = (from: Workload, host: string) =>
        run(from, "sh", "-c", `printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n' | nc -w 2 ${host} 80`);
      await until("the neighbour", async () =>
        (await get(neighbour, seen.address ?? "")).stdout.includes("lamplighter"),
      );
      expect((await get(stranger, seen.address ?? "")).stdout).toBe("");
      // Podman needs a DNS plugin for names, which not every host has.
      if (runtime === "podman") return;
      const named = (from: Workload, name: string) => say(from, `nslookup ${name} 127.0.0.11`);
      expect(await named(neighbour, "backend")).toContain(seen.address);
      expect(await named(neighbour, containerName(backend))).toContain(seen.address);
      expect(await named(stranger, "backend")).not.toContain(seen.address);
    });

    test("a network that someone removed is made again", async () => {
      const namespace = `${harness.namespace}-d`;
      const { workload } = await up({ namespace });
      await running.driver.remove(workload.id, 1, 0);
      await harness.engine.getNetwork(networkName(namespace)).remove();
      await up({ namespace });
    });

    test("many at once in a new namespace make one network, also by two agents", async () => {
      const other = await harness.start({ stateDir: `${harness.stateDir}/other` });
      for (const namespace of ["e", "f", "g"].map((it) => `${harness.namespace}-${it}`)) {
        const workloads = [1, 2, 3, 4].map(() => harness.workload({ namespace, command: ["true"] }));
        const answers = await Promise.all(
          workloads.map((workload, index) => (index % 2 ? other : running).driver.apply(workload, never)),
        );
        expect(answers.filter((it) => it.phase === "failed")).toEqual([]);
        const networks = await harness.engine.listNetworks();
        expect(networks.filter((it) => it.Name === networkName(namespace))).toHaveLength(1);
      }
      await other.driver.close();
    });

    type Case = [string, Partial<WorkloadSpec>, { kind: string; reason: string }];
    const failures: Case[] = [
      ["no image", { image: null }, { kind: "config_error", reason: "image_missing" }],
      [
        "a command that does not exist",
        { command: ["/nope"] },
        { kind: "create_container_error", reason: "command_not_found" },
      ],
      ["a command not in PATH", { command: ["nope"] }, { kind: "create_container_error", reason: "command_not_found" }],
      [
        "a file that is no program",
        { command: ["/etc/passwd"] },
        { kind: "create_container_error", reason: "command_not_executable" },
      ],
      [
        "a relative folder",
        { working_dir: "tmp" },
        { kind: "create_container_error", reason: runtime === "docker" ? "create_rejected" : "start_failed" },
      ],
      [
        "a missing bind source",
        {
          mounts: [{ type: "bind", source: "/nope/never/made", destination: "/x", driver: "local", permission: "rw" }],
        },
        { kind: "create_container_error", reason: "bind_source_missing" },
      ],
      [
        "two mounts at one place",
        {
          mounts: ["one", "two"].map((source) => ({
            type: "volume",
            source,
            destination: "/x",
            driver: "local",
            permission: "rw",
          })),
        },
        { kind: "create_container_error", reason: "mount_invalid" },
      ],
      [
        "a mapping on the host's network",
        { network: "host", ports: [{ published: 1, target: 2, protocol: "tcp" }] },
        { kind: "config_error", reason: "port_mapping_on_host_network" },
      ],
      [
        "a variable without a name",
        { environment: { "": "hunter2hunter2" } },
        { kind: "config_error", reason: "environment_name_invalid" },
      ],
    ];
    test.each(failures)("%s is said, and leaves nothing behind", async (_, spec, failure) => {
      const workload = harness.workload({ environment: { SECRET: "hunter2hunter2" }, ...spec });
      let answer = await raise(workload);
      if (answer.phase === "running") {
        answer = await until("the failure", () =>
          running.seen.find((it) => it.id === workload.id && it.phase === "failed"),
        );
      }
      expect(answer).toMatchObject({ phase: "failed", failure });
      expect(JSON.stringify([answer, running.log])).not.toContain("hunter2");
      await running.driver.remove(workload.id, 1, 0);
      expect(await harness.containers(workload)).toEqual([]);
    });

    test("a name that another container has is not taken over", async () => {
      const workload = harness.workload();
      const squatter = await harness.engine.createContainer({ name: containerName(workload), Image: testImage });
      try {
        expect(await raise(workload)).toMatchObject({ phase: "failed", failure: { reason: "name_taken" } });
        await running.driver.remove(workload.id, 1, 0);
        expect((await squatter.inspect()).Id).toBe(squatter.id);
      } finally {
        await squatter.remove({ force: true });
      }
    });

    test("exec: both outputs, exit code, bound, time, and what does not run", async () => {
      const { workload } = await up({});
      expect(await run(workload, "sh", "-c", "echo out; echo err >&2; exit 4")).toEqual({
        exit_code: 4,
        stdout: "out\n",
        stderr: "err\n",
        truncated: false,
      });
      const big = await run(workload, "sh", "-c", "yes | head -c 1000000; yes | head -c 70000 >&2");
      expect([big.stdout.length, big.stderr.length, big.truncated, big.exit_code]).toEqual([65_536, 65_536, true, 0]);
      expect([126, 127]).toContain((await run(workload, "/nope")).exit_code);

      const begun = Date.now();
      const late = await running.driver.exec(workload.id, 1, ["sh", "-c", "echo first; exec sleep 987"], 1_500);
      expect(late).toMatchObject({ exit_code: null, stdout: "first\n" });
      expect(Date.now() - begun).toBeLessThan(4_000);
      await until("the kill", async () => !(await say(workload, "ps")).includes("sleep 987"));
      await expect(running.driver.exec(workload.id, 2, ["true"], 1_000)).rejects.toThrow(/does not run/);
    });

    test("stats: a busy instance shows its use", async () => {
      const { workload } = await up({
        command: ["sh", "-c", "while true; do :; done"],
        cpu_limit_millis: 400,
        memory_limit_bytes: 64 << 20,
      });
      await running.driver.stats([workload.id]);
      const [stats, ...more] = await running.driver.stats([workload.id, "dep_unknown-0"]);
      expect(more).toEqual([]);
      expect(stats).toMatchObject({ instance_id: `${workload.id}-g1`, instance_name: containerName(workload) });
      // Others want the cores too.
      expect(stats?.cpu_usage_percent).toBeGreaterThan(1);
      expect(stats?.cpu_usage_percent).toBeLessThan(80);
      expect(stats?.memory.limit_bytes).toBe(64 << 20);
      expect(stats?.memory.usage_bytes).toBeGreaterThan(0);
      expect(stats?.memory.usage_bytes).toBeLessThan(32 << 20);
      expect(stats?.pids.current).toBeGreaterThanOrEqual(2);
      await running.driver.remove(workload.id, 1, 0);
      expect(await running.driver.stats([workload.id])).toEqual([]);
    });
  });
});

function udpBindable(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createSocket("udp4");
    socket.on("error", () => resolve(false));
    socket.bind(port, "127.0.0.1", () => socket.close(() => resolve(true)));
  });
}
