// What the docker driver makes of an engine's refusals: each word for word as an engine said it.
import { describe, expect, test } from "vitest";
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
import type { PortMapping } from "../../contract/workload.ts";

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

  const ports: PortMapping[] = [
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
    expect(containerFailure(error(status, said), ports)).toMatchObject({ kind, reason });
  });

  test.each([
    ["Bind for 127.0.0.1:8080 failed: port is already allocated", "port 8080/tcp of 127.0.0.1 is taken on this host"],
    ["listen udp4 0.0.0.0:53: bind: address already in use", "port 53/udp is taken on this host"],
    ["listen tcp4 0.0.0.0:53: bind: address already in use", "port 53/tcp is taken on this host"],
    ["Bind for :::53 failed: port is already allocated", "port 53/tcp is taken on this host"],
    ["port is already allocated", "a published port is taken on this host: port is already allocated"],
  ])("%s", (said, message) => expect(containerFailure(error(500, said), ports).message).toBe(message));

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
