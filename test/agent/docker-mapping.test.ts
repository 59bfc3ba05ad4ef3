// The pure half of the docker driver that asks: names, what it makes of a spec, image references, where engines are.
import { describe, expect, test } from "vitest";
import { creation, refusal } from "../../agent/docker/creation.ts";
import { digestOf, parseImage, pullTarget, registryAuth } from "../../agent/docker/image.ts";
import { containerName, networkName, volumeName } from "../../agent/docker/naming.ts";
import { engineAddresses, socketPathOf } from "../../agent/docker/socket.ts";
import type { Mount, Workload, WorkloadSpec } from "../../contract/workload.ts";

const spec = (of: Partial<WorkloadSpec> = {}): WorkloadSpec => ({
  runtime: "docker",
  namespace: "prod",
  name: "web",
  kind: "worker",
  image: "nginx:1",
  image_pull_policy: "IfNotPresent",
  registry: null,
  command: [],
  working_dir: null,
  environment: {},
  labels: {},
  ports: [],
  mounts: [],
  user: { id: null, group: null, privileged: false },
  network: "bridge",
  cpu_limit_millis: null,
  memory_limit_bytes: null,
  cpu_reserved_millis: 0,
  memory_reserved_bytes: 0,
  stop_timeout_ms: 10_000,
  ...of,
});
const owner = "dep_01m7yr28zsdt975km1jz8a85m3";
const workload = (of: Partial<WorkloadSpec> = {}): Workload => ({
  id: `${owner}-2`,
  generation: 7,
  owner,
  want: "running",
  spec: spec(of),
});
const made = (of: Partial<WorkloadSpec> = {}) =>
  creation(workload(of), { hostId: "host_a", runtime: "docker", init: true });
const mount = (of: Partial<Mount>): Mount => ({
  type: "volume",
  source: "data",
  destination: "/data",
  driver: "local",
  permission: "rw",
  ...of,
});

describe("names", () => {
  test.each([
    [{}, "prod_web_jz8a85m3-2-g7"],
    [{ namespace: "a/b", name: "x y" }, "a-b_x-y_jz8a85m3-2-g7"],
    [{ name: "n".repeat(200) }, `prod_${"n".repeat(100)}_jz8a85m3-2-g7`],
  ])("container %#", (of, name) => expect(containerName(workload(of))).toBe(name));

  test("a workload that is not a deployment's has its own id in the name", () => {
    expect(containerName({ ...workload(), id: "build:41" })).toBe("prod_web_build-41-g7");
  });

  test("network and volume", () => {
    expect(networkName("prod")).toBe("lamplighter_prod");
    expect(volumeName("prod", "data")).toBe("prod_data");
  });
});

describe("creation", () => {
  test("says only what was asked for", () => {
    expect(made()).toEqual({
      name: "prod_web_jz8a85m3-2-g7",
      Image: "nginx:1",
      Labels: {
        "lamplighter.host": "host_a",
        "lamplighter.runtime": "docker",
        "lamplighter.workload": `${owner}-2`,
        "lamplighter.generation": "7",
        "lamplighter.owner": owner,
        "lamplighter.namespace": "prod",
        ring_deployment: owner,
      },
      Env: [],
      ExposedPorts: {},
      StopTimeout: 10,
      HostConfig: {
        NetworkMode: "lamplighter_prod",
        PortBindings: {},
        Mounts: [],
        Privileged: false,
        Init: true,
        RestartPolicy: { Name: "no" },
        LogConfig: { Type: "json-file", Config: { "max-size": "10m", "max-file": "3" } },
      },
      NetworkingConfig: { EndpointsConfig: { lamplighter_prod: { Aliases: ["web", "prod_web_jz8a85m3-2-g7"] } } },
    });
  });

  test.each<[string, Partial<WorkloadSpec>, object]>([
    ["command", { command: ["a", "b"] }, { Cmd: ["a", "b"] }],
    ["folder", { working_dir: "/app" }, { WorkingDir: "/app" }],
    ["environment", { environment: { A: "1", B: "x=y" } }, { Env: ["A=1", "B=x=y"] }],
    ["user", { user: { id: 5, group: null, privileged: false } }, { User: "5" }],
    ["root", { user: { id: 0, group: 0, privileged: true } }, { User: "0:0", HostConfig: { Privileged: true } }],
    ["stop time", { stop_timeout_ms: 1_001 }, { StopTimeout: 2 }],
    ["cpu", { cpu_limit_millis: 1500 }, { HostConfig: { NanoCpus: 1_500_000_000 } }],
    [
      "memory",
      { memory_limit_bytes: 100, memory_reserved_bytes: 100 },
      { HostConfig: { Memory: 100, MemorySwap: 100 } },
    ],
    ["request", { memory_reserved_bytes: 50 }, { HostConfig: { MemoryReservation: 50 } }],
    [
      "host network",
      { network: "host", ports: [{ published: 80, target: 80, protocol: "tcp" }] },
      { HostConfig: { NetworkMode: "host", PortBindings: {} }, ExposedPorts: {} },
    ],
    [
      "ports",
      {
        ports: [
          { published: 8080, target: 80, protocol: "tcp" },
          { published: 8081, target: 80, protocol: "tcp", host_ip: "127.0.0.1" },
          { published: 53, target: 53, protocol: "udp", host_ip: null },
        ],
      },
      {
        ExposedPorts: { "80/tcp": {}, "53/udp": {} },
        HostConfig: {
          PortBindings: {
            "80/tcp": [
              { HostIp: "0.0.0.0", HostPort: "8080" },
              { HostIp: "127.0.0.1", HostPort: "8081" },
            ],
            "53/udp": [{ HostIp: "0.0.0.0", HostPort: "53" }],
          },
        },
      },
    ],
    [
      "mounts",
      { mounts: [mount({ permission: "ro" }), mount({ type: "bind", source: "/srv", destination: "/srv" })] },
      {
        HostConfig: {
          Mounts: [
            {
              Type: "volume",
              Source: "prod_data",
              Target: "/data",
              ReadOnly: true,
              VolumeOptions: { Labels: { "lamplighter.namespace": "prod" } },
            },
            { Type: "bind", Source: "/srv", Target: "/srv", ReadOnly: false },
          ],
        },
      },
    ],
    [
      "nfs",
      { mounts: [mount({ driver: "nfs", source: "nas:/export/a" })] },
      {
        HostConfig: {
          Mounts: [
            {
              Source: expect.stringMatching(/^prod_nas--export-a-[0-9a-f]{8}$/),
              VolumeOptions: {
                DriverConfig: { Name: "local", Options: { type: "nfs", o: "addr=nas,rw", device: ":/export/a" } },
              },
            },
          ],
        },
      },
    ],
  ])("%s", (_, of, options) => expect(made(of)).toMatchObject(options));

  test("a user's label cannot take the place of ours", () => {
    const labels = {
      "lamplighter.host": "x",
      "lamplighter.workload": "x",
      "lamplighter.runtime": "x",
      ring_deployment: "x",
      mine: "y",
    };
    expect(made({ labels }).Labels).toEqual({ ...made().Labels, mine: "y" });
  });

  test.each<[string, Partial<WorkloadSpec>, string | undefined]>([
    ["nothing wrong", {}, undefined],
    ["no image", { image: null }, "image_missing"],
    ["group alone", { user: { id: null, group: 3, privileged: false } }, "group_without_user"],
    ["name with =", { environment: { "A=B": "c" } }, "environment_name_invalid"],
    ["NUL", { environment: { A: "a\0b" } }, "environment_value_invalid"],
    ["nfs source", { mounts: [mount({ driver: "nfs" })] }, "nfs_source_invalid"],
    ["relative destination", { mounts: [mount({ destination: "data" })] }, "mount_destination_invalid"],
    [
      "same port on the host's network",
      { network: "host", ports: [{ published: 80, target: 80, protocol: "tcp" }] },
      undefined,
    ],
    [
      "other port on the host's network",
      { network: "host", ports: [{ published: 81, target: 80, protocol: "tcp" }] },
      "port_mapping_on_host_network",
    ],
  ])("refusal: %s", (_, of, reason) => expect(refusal(spec(of))?.reason).toBe(reason));
});

describe("images", () => {
  test.each([
    ["nginx", { domain: null, path: "nginx", tag: null, digest: null }, { fromImage: "nginx", tag: "latest" }],
    ["a/b:1", { domain: null, path: "a/b", tag: "1", digest: null }, { fromImage: "a/b", tag: "1" }],
    [
      "localhost/b",
      { domain: "localhost", path: "b", tag: null, digest: null },
      { fromImage: "localhost/b", tag: "latest" },
    ],
    [
      "r.io:5000/a/b:2",
      { domain: "r.io:5000", path: "a/b", tag: "2", digest: null },
      { fromImage: "r.io:5000/a/b", tag: "2" },
    ],
    [
      "r.io:5000/b",
      { domain: "r.io:5000", path: "b", tag: null, digest: null },
      { fromImage: "r.io:5000/b", tag: "latest" },
    ],
    ["a:1@sha256:ff", { domain: null, path: "a", tag: "1", digest: "sha256:ff" }, { fromImage: "a", tag: "sha256:ff" }],
  ])("%s", (image, reference, target) => {
    expect(parseImage(image)).toEqual(reference);
    expect(pullTarget(image)).toEqual(target);
  });

  test.each([
    ["nginx", null, "https://index.docker.io/v1/"],
    ["nginx", "https://index.docker.io/v1/", "https://index.docker.io/v1/"],
    ["nginx", "docker.io", "https://index.docker.io/v1/"],
    ["nginx", "ghcr.io", null],
    ["ghcr.io/a/b", null, "ghcr.io"],
    ["ghcr.io/a/b", "https://ghcr.io", "ghcr.io"],
    ["ghcr.io/a/b", "GHCR.io/v2/", "ghcr.io"],
    ["ghcr.io/a/b", "evil.example", null],
    ["r.io:5000/b", "r.io", null],
  ])("credentials for %s given for %s", (image, server, address) => {
    const auth = registryAuth(image, { server, username: "u", password: "p" });
    expect(auth?.serveraddress ?? null).toBe(address);
  });

  test.each([
    ["nginx:1", ["nginx@sha256:aa"], "sha256:aa"],
    ["nginx:1", ["docker.io/library/nginx@sha256:aa"], "sha256:aa"],
    ["r.io/a:1", ["r.io/b@sha256:bb", "r.io/a@sha256:aa"], "sha256:aa"],
    ["r.io/a:1", ["r.io/b@sha256:bb"], null],
    ["a:1", null, null],
  ])("digest of %s in %j", (image, digests, digest) => expect(digestOf(image, digests)).toBe(digest));
});

describe("where engines are", () => {
  test.each<["docker" | "podman", Record<string, string>, number | null, string[]]>([
    ["docker", {}, 0, ["unix:///var/run/docker.sock"]],
    ["docker", { HOME: "/h" }, 0, ["unix:///var/run/docker.sock", "unix:///h/.docker/run/docker.sock"]],
    ["docker", { DOCKER_HOST: "tcp://h:2375", HOME: "/h" }, 0, ["tcp://h:2375"]],
    ["docker", { DOCKER_HOST: "/x.sock" }, 0, ["unix:///x.sock"]],
    ["docker", { DOCKER_HOST: "h:2375" }, 0, ["tcp://h:2375"]],
    ["docker", { DOCKER_HOST: "unix://" }, 0, ["unix:///var/run/docker.sock"]],
    ["podman", {}, 7, ["unix:///run/user/7/podman/podman.sock", "unix:///run/podman/podman.sock"]],
    [
      "podman",
      {
        LAMPLIGHTER_PODMAN_HOST: "unix:///l",
        CONTAINER_HOST: "unix:///c",
        DOCKER_HOST: "unix:///d",
        XDG_RUNTIME_DIR: "/run/user/7",
      },
      7,
      [
        "unix:///l",
        "unix:///c",
        "unix:///d",
        "unix:///run/user/7/podman/podman.sock",
        "unix:///run/podman/podman.sock",
      ],
    ],
  ])("%s %j", (runtime, env, uid, addresses) => expect(engineAddresses(runtime, env, uid)).toEqual(addresses));

  test("paths", () => {
    expect(socketPathOf("unix:///a/b")).toBe("/a/b");
    expect(socketPathOf("tcp://h:1")).toBeNull();
  });
});
