// The pure half of the docker driver: what it makes of a spec, of an engine's words, and of an engine's bytes.
import { describe, expect, test } from "vitest";
import { creation, refusal } from "../../agent/docker/creation.ts";
import { EngineError, engineError } from "../../agent/docker/engine.ts";
import {
  containerFailure,
  initFailure,
  isImageMissing,
  isInitMissing,
  isNameTaken,
  isNetworkMissing,
  leftEndpoint,
  networkFailure,
  pullFailure,
} from "../../agent/docker/failure.ts";
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

const error = (status: number | null, message: string) => new EngineError(message, status);

describe("what engines answer", () => {
  test.each<[object, number | null, string]>([
    [{ statusCode: 404, json: { message: "No such container: x" } }, 404, "No such container: x"],
    [
      { statusCode: 500, json: { message: "container x does not exist in database: no such container" } },
      404,
      "container x does not exist in database: no such container",
    ],
    [
      { statusCode: 500, json: { message: "transport is closing: unavailable" } },
      null,
      "transport is closing: unavailable",
    ],
    [{ statusCode: 304, json: null, message: "(HTTP code 304) container already started -  " }, 304, ""],
    [{ statusCode: 500, json: null, message: "(HTTP code 500) server error - a - b " }, 500, "a - b"],
    [{ code: "ECONNREFUSED", message: "connect ECONNREFUSED /x.sock" }, null, "connect ECONNREFUSED /x.sock"],
    [{ code: "ECONNRESET" }, null, "ECONNRESET"],
  ])("an error %j", (raw, status, message) => {
    expect(engineError(raw)).toMatchObject({ status, message });
  });

  test("what can be made good is known by its words", () => {
    expect(isImageMissing(error(404, "No such image: nope:1"))).toBe(true);
    expect(isImageMissing(error(404, "no such image: docker.io/nope:1: image not known"))).toBe(true);
    expect(isImageMissing(error(404, "No such container: x"))).toBe(false);
    expect(isNameTaken(error(409, 'Conflict. The container name "/p2" is already in use by container "02"'))).toBe(
      true,
    );
    expect(isNameTaken(error(500, 'creating container storage: the container name "p2" is already in use by 02'))).toBe(
      true,
    );
    expect(isNameTaken(error(500, "address already in use"))).toBe(false);
    expect(isNetworkMissing(error(404, "network lamplighter_x not found"))).toBe(true);
    expect(isNetworkMissing(error(404, "failed to set up container networking: network lamplighter_x not found"))).toBe(
      true,
    );
    expect(
      isNetworkMissing(
        error(500, "container create: unable to find network with name or ID lamplighter_x: network not found"),
      ),
    ).toBe(true);
    expect(isNetworkMissing(error(404, "No such container: x"))).toBe(false);
    const left = error(403, "endpoint with name web_a already exists in network host");
    expect(leftEndpoint(left, "web_a")).toBe("host");
    expect(leftEndpoint(left, "web_b")).toBeNull();
    expect(
      isInitMissing(error(500, "container-init binary not found on the host: stat /usr/libexec/podman/catatonit")),
    ).toBe(true);
  });

  const ports: WorkloadSpec["ports"] = [
    { published: 8080, target: 80, protocol: "tcp", host_ip: "127.0.0.1" },
    { published: 53, target: 53, protocol: "udp" },
    { published: 53, target: 53, protocol: "tcp" },
  ];
  test.each<[number | null, string, string, string]>([
    [
      500,
      "driver failed programming external connectivity on endpoint p7 (e969adf7): Bind for 127.0.0.1:8080 failed: port is already allocated",
      "create_container_error",
      "port_taken",
    ],
    [
      500,
      "driver failed programming external connectivity on endpoint x: Error starting userland proxy: listen tcp4 127.0.0.1:8080: bind: address already in use",
      "create_container_error",
      "port_taken",
    ],
    [
      500,
      "failed to set up container networking: driver failed programming: failed to bind host port 0.0.0.0:8080/tcp: address already in use",
      "create_container_error",
      "port_taken",
    ],
    [
      500,
      "cannot listen on the TCP port: listen tcp4 127.0.0.1:8080: bind: address already in use",
      "create_container_error",
      "port_taken",
    ],
    [500, "rootlessport cannot expose privileged port 80", "create_container_error", "port_not_permitted"],
    [
      400,
      'invalid mount config for type "bind": bind source path does not exist: /nope/x',
      "create_container_error",
      "bind_source_missing",
    ],
    [400, "Duplicate mount point: /x", "create_container_error", "mount_invalid"],
    [500, "fill out specgen: /x: duplicate mount destination", "create_container_error", "mount_invalid"],
    [
      500,
      "error while mounting volume '/var/lib/docker/volumes/p_d/_data': failed to mount local volume: mount :/e:/v, flags: 0x1: connection refused",
      "file_system_error",
      "volume_mount_failed",
    ],
    [500, "mkdir /var/lib/docker/overlay2/x: no space left on device", "file_system_error", "disk_full"],
    [
      400,
      'failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "nope": executable file not found in $PATH: unknown',
      "create_container_error",
      "command_not_found",
    ],
    [
      400,
      'OCI runtime create failed: runc create failed: unable to start container process: exec: "/nope": stat /nope: no such file or directory: unknown',
      "create_container_error",
      "command_not_found",
    ],
    [
      500,
      'runc: runc create failed: unable to start container process: exec: "/nope": stat /nope: no such file or directory: OCI runtime attempted to invoke a command that was not found',
      "create_container_error",
      "command_not_found",
    ],
    [
      400,
      'OCI runtime create failed: unable to start container process: exec: "/etc/passwd": permission denied: unknown',
      "create_container_error",
      "command_not_executable",
    ],
    [400, "unable to find user nope: no matching entries in passwd file", "create_container_error", "user_not_found"],
    [
      400,
      "the working directory 'rel' is invalid, it needs to be an absolute path",
      "create_container_error",
      "create_rejected",
    ],
    [400, "Minimum memory limit allowed is 6MB", "create_container_error", "create_rejected"],
    [
      400,
      "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available",
      "create_container_error",
      "create_rejected",
    ],
    [
      500,
      "runc: runc create failed: Cwd must be an absolute path: OCI runtime error",
      "create_container_error",
      "start_failed",
    ],
    [
      500,
      "failed to create endpoint x on network y: adding interface to bridge failed",
      "network_error",
      "network_connect_failed",
    ],
    [500, "something else", "error", "engine_error"],
    [null, "connect ENOENT /var/run/docker.sock", "error", "engine_unreachable"],
  ])("%i %s", (status, said, kind, reason) => {
    expect(containerFailure(error(status, said), spec({ ports }))).toMatchObject({ kind, reason });
  });

  test.each([
    ["Bind for 127.0.0.1:8080 failed: port is already allocated", "port 8080/tcp of 127.0.0.1 is taken on this host"],
    ["listen udp4 0.0.0.0:53: bind: address already in use", "port 53/udp is taken on this host"],
    ["listen tcp4 0.0.0.0:53: bind: address already in use", "port 53/tcp is taken on this host"],
    ["Bind for :::53 failed: port is already allocated", "port 53/tcp is taken on this host"],
    ["port is already allocated", "a published port is taken on this host: port is already allocated"],
  ])("%s", (said, message) => expect(containerFailure(error(500, said), spec({ ports })).message).toBe(message));

  test.each([
    [
      "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network",
      "network_pool_exhausted",
    ],
    ["permission denied", "network_create_failed"],
  ])("network: %s", (said, reason) => {
    expect(networkFailure(error(500, said), "lamplighter_x")).toMatchObject({ kind: "network_error", reason });
  });

  test.each([
    ['Get "http://127.0.0.1:5999/v2/": dial tcp 127.0.0.1:5999: connect: connection refused', "registry_unreachable"],
    [
      'Get "https://registry.invalid/v2/": dial tcp: lookup registry.invalid on 10.0.0.1:53: no such host',
      "registry_unreachable",
    ],
    [
      "Get https://r.io/v2/: net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)",
      "registry_unreachable",
    ],
    ['Get "https://r.io/v2/": x509: certificate signed by unknown authority', "registry_unreachable"],
    ['Get "https://127.0.0.1:5/v2/": http: server gave HTTP response to HTTPS client', "registry_unreachable"],
    [
      "initializing source docker://x:1: pinging container registry r.io: Get: dial tcp: lookup r.io: no such host",
      "registry_unreachable",
    ],
    ['Head "http://r.io/v2/a/manifests/1": no basic auth credentials', "registry_auth_failed"],
    ["unauthorized: authentication required", "registry_auth_failed"],
    [
      "initializing source: unable to retrieve auth token: invalid username/password: unauthorized",
      "registry_auth_failed",
    ],
    ["manifest for r.io/a:1 not found: manifest unknown: manifest unknown", "image_not_found"],
    ["initializing source docker://r.io/a:1: reading manifest 1 in r.io/a: manifest unknown", "image_not_found"],
    ["no matching manifest for linux/arm64/v8 in the manifest list entries", "image_platform_missing"],
    ["toomanyrequests: You have reached your pull rate limit.", "registry_rate_limited"],
    ["write /var/lib/docker/tmp/x: no space left on device", "disk_full"],
    ["what is this", "image_pull_failed"],
  ])("pull: %s", (said, reason) => expect(pullFailure("r.io/a:1", said, true).reason).toBe(reason));

  test("a mistyped name on Docker Hub is not found, unless somebody signed in", () => {
    const said =
      "pull access denied for ngnix, repository does not exist or may require 'docker login': denied: requested access to the resource is denied";
    expect(pullFailure("ngnix", said, false).reason).toBe("image_not_found");
    expect(pullFailure("ngnix", said, true).reason).toBe("registry_auth_failed");
  });

  test.each([
    ["[FATAL tini (7)] exec /nope failed: No such file or directory", "command_not_found"],
    ["[FATAL tini (7)] exec /etc/passwd failed: Permission denied", "command_not_executable"],
    ["ERROR (catatonit:6): failed to exec pid1: No such file or directory", "command_not_found"],
    ["my own words: No such file or directory", undefined],
  ])("init: %s", (line, reason) => expect(initFailure(line, ["x"])?.reason).toBe(reason));
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
