import type { FailureKind, PortMapping } from "../../contract/workload.ts";
import type { EngineError } from "./engine.ts";
import { parseImage, registryHost } from "./image.ts";

/** Why a workload could not be brought up, as its deployment will show it. */
export type Failure = { kind: FailureKind; reason: string; message: string };

/** The engine's answer to a create call whose image it does not have. */
export const isImageMissing = (error: EngineError): boolean =>
  error.status === 404 && /no such image|image not known/i.test(error.message);

/** A container of this name is there already (Podman answers 500 or 409 by version). */
export const isNameTaken = (error: EngineError): boolean =>
  (error.status === 409 || error.status === 500) && /name .*(is )?already in use/i.test(error.message);

/** The namespace's network is not there; Docker says so at start, Podman at create. Several of one name are as bad as none. */
export const isNetworkMissing = (error: EngineError): boolean =>
  (error.status === 404 && /network .*not found/i.test(error.message)) ||
  (error.status === 500 && /unable to find network|network not found/i.test(error.message)) ||
  /network .*is ambiguous/i.test(error.message);

/** Docker was stopped in the middle of this container's start, and will never start it again: another one has to take its place. */
export const isSpoiled = (error: EngineError): boolean => /^task \w+: already exists/i.test(error.message);

/** The network that still has this container's endpoint, from a start during which Docker itself was stopped; else null. */
export function leftEndpoint(error: EngineError, container: string): string | null {
  const [, endpoint, network] = /endpoint with name (\S+) already exists in network (\S+)/.exec(error.message) ?? [];
  return endpoint === container ? (network ?? null) : null;
}

/** The engine has no init program (Podman without catatonit). */
export const isInitMissing = (error: EngineError): boolean =>
  /container-init binary not found|init binary|catatonit.*no such file|docker-init.*not found/i.test(error.message);

/** No answer came, or the engine was going down: what was asked may have happened. */
export const isUnreachable = (error: EngineError): boolean => error.status === null;

export function neverPulls(image: string): Failure {
  const message = `image_pull_policy=Never forbids pulling '${image}', which is not on this host`;
  return { kind: "image_pull_back_off", reason: "image_not_present", message };
}

export function bindSourceMissing(source: string): Failure {
  return {
    kind: "create_container_error",
    reason: "bind_source_missing",
    message: `the host has no '${source}' to mount`,
  };
}

export function foreignCredentials(image: string, server: string): Failure {
  const wanted = registryHost(parseImage(image).domain);
  const message = `the registry credentials are for '${registryHost(server)}', but '${image}' comes from '${wanted}'`;
  return { kind: "config_error", reason: "registry_mismatch", message };
}

/** @param what which config, told without what is in it */
export function unusableCredentials(what: string, found: { none: string } | { fault: string }): Failure {
  const message = `${what} cannot be used: ${"none" in found ? found.none : found.fault}`;
  return { kind: "config_error", reason: "registry_config_unusable", message };
}

export function filesNeedLocalEngine(): Failure {
  const message = "volumes: configs and secrets are files of this host, and its engine is on another machine";
  return { kind: "config_error", reason: "files_need_local_engine", message };
}

const PULL: readonly [RegExp, string, (image: string, said: string) => string][] = [
  [
    /toomanyrequests|too many requests|rate limit/i,
    "registry_rate_limited",
    (image, said) => `the registry refuses more pulls of '${image}' for now: ${said}`,
  ],
  [
    /unauthorized|authentication required|no basic auth credentials|invalid username\/password|access to the resource is denied|pull access denied|\bdenied\b|403 forbidden|incorrect username/i,
    "registry_auth_failed",
    (image, said) => `registry authentication failed for '${image}': ${said}`,
  ],
  [
    /no matching manifest for|no image found in (image index|manifest list) for/i,
    "image_platform_missing",
    (image, said) => `Image '${image}' has no variant for this host: ${said}`,
  ],
  [
    /manifest unknown|not found|name unknown|no such image|image not known|does not exist/i,
    "image_not_found",
    (image, said) => `Image '${image}' not found: ${said}`,
  ],
  [
    /no such host|connection refused|connection reset|i\/o timeout|deadline exceeded|request canceled|network is unreachable|no route to host|\beof\b|tls|x509|http response to https|server misbehaving|bad gateway|service unavailable|50[0234]\b|dial tcp/i,
    "registry_unreachable",
    (image, said) => `cannot reach the registry for '${image}' — ${said}`,
  ],
  [
    /invalid reference format|invalid repository name|short-name/i,
    "image_name_invalid",
    (image, said) => `'${image}' is not an image name: ${said}`,
  ],
];

/**
 * What a pull's error says. A name that cannot be looked up is the registry's host, not the image: it is tested before "not found". Docker Hub
 * answers a mistyped name like a private one; without credentials the mistyped name is the likelier.
 */
export function pullFailure(image: string, said: string, signedIn: boolean): Failure {
  if (!signedIn && /repository does not exist or may require/i.test(said)) {
    return { kind: "image_pull_back_off", reason: "image_not_found", message: `Image '${image}' not found: ${said}` };
  }
  if (/no space left on device/i.test(said)) {
    return { kind: "file_system_error", reason: "disk_full", message: `no space left on the host to pull '${image}'` };
  }
  const order = /no such host|dial tcp|connection refused/i.test(said) ? [...PULL].reverse() : PULL;
  for (const [pattern, reason, message] of order) {
    if (pattern.test(said)) return { kind: "image_pull_back_off", reason, message: message(image, said) };
  }
  return { kind: "image_pull_back_off", reason: "image_pull_failed", message: `pulling '${image}' failed: ${said}` };
}

const rejected = (reason: string, message: string): Failure => ({ kind: "create_container_error", reason, message });

/** What the engine's refusal to create or start a container means for its user. */
export function containerFailure(error: EngineError, ports: readonly PortMapping[]): Failure {
  const said = error.message;
  if (isUnreachable(error))
    return { kind: "error", reason: "engine_unreachable", message: `the container engine does not answer: ${said}` };
  if (/no space left on device/i.test(said))
    return { kind: "file_system_error", reason: "disk_full", message: `no space left on the host: ${said}` };

  if (/port is already allocated|address already in use|port .*already (in use|bound)/i.test(said)) {
    const port = portIn(said, ports);
    return rejected(
      "port_taken",
      port === null ? `a published port is taken on this host: ${said}` : `port ${port} is taken on this host`,
    );
  }
  if (/(bind|rootlessport|listen).*(permission denied|cannot expose privileged port)/i.test(said)) {
    return rejected("port_not_permitted", `the engine may not publish a port: ${said}`);
  }

  const source = /bind source path does not exist: (\S+)/.exec(said)?.[1];
  if (source) return bindSourceMissing(source);
  if (
    /error while mounting volume|failed to mount local volume|error mounting volume|mounting volume|create volume|VolumeDriver/i.test(
      said,
    )
  ) {
    return { kind: "file_system_error", reason: "volume_mount_failed", message: `a volume cannot be mounted: ${said}` };
  }
  if (/executable file not found|exec: .*no such file or directory|command that was not found/i.test(said)) {
    return rejected("command_not_found", `the image has no such command: ${said}`);
  }
  if (/exec: .*(permission denied|exec format error|is a directory)/i.test(said)) {
    return rejected("command_not_executable", `the command cannot be executed: ${said}`);
  }
  if (/unable to find (user|group)|no matching entries in (passwd|group)/i.test(said)) {
    return rejected("user_not_found", `the image does not know the user: ${said}`);
  }
  if (
    /mount.*(not a directory|no such file)|error mounting|invalid mount|statfs .*no such file|duplicate mount (point|destination)/i.test(
      said,
    )
  ) {
    return rejected("mount_invalid", `a mount cannot be made: ${said}`);
  }
  if (/\bnetwork\b|failed to create endpoint|sandbox|netavark|\bcni\b/i.test(said)) {
    return {
      kind: "network_error",
      reason: "network_connect_failed",
      message: `the container cannot be put on its network: ${said}`,
    };
  }
  if (error.status !== null && error.status < 500)
    return rejected("create_rejected", `the engine refuses the container: ${said}`);
  if (/OCI|runc|crun|shim|container process/i.test(said))
    return rejected("start_failed", `the container cannot be started: ${said}`);
  return { kind: "error", reason: "engine_error", message: `the container engine failed: ${said}` };
}

/** What the engine's refusal to make a network means. */
export function networkFailure(error: EngineError, network: string): Failure {
  if (isUnreachable(error))
    return {
      kind: "error",
      reason: "engine_unreachable",
      message: `the container engine does not answer: ${error.message}`,
    };
  if (/non-overlapping|address pool|no free (subnet|private)|could not find free subnet/i.test(error.message)) {
    const message = `no addresses are left for network '${network}': widen default-address-pools in the engine's configuration, or remove unused networks`;
    return { kind: "network_error", reason: "network_pool_exhausted", message };
  }
  return {
    kind: "network_error",
    reason: "network_create_failed",
    message: `network '${network}' cannot be made: ${error.message}`,
  };
}

/** `80/tcp`, when the message names a port that the workload publishes; else the bare number it names, else null. */
function portIn(said: string, ports: readonly PortMapping[]): string | null {
  const numbers = [...said.matchAll(/:(\d{1,5})(?!\d)/g)].map((match) => Number(match[1]));
  const udp = /\budp/i.test(said);
  const named = ports.filter((port) => port.published != null && numbers.includes(port.published));
  const port = named.find((it) => (it.protocol === "udp") === udp) ?? named[0];
  if (port) return `${port.published}/${port.protocol}${port.host_ip ? ` of ${port.host_ip}` : ""}`;
  return numbers.length > 0 ? String(numbers.at(-1)) : null;
}

const INIT_FAILED =
  /^(?:\[FATAL tini \(\d+\)\] exec (.+) failed: (.+)|ERROR \(catatonit:\d+\): failed to exec pid1: (.+))$/;

/**
 * With an init as PID 1 the engine starts the container before anyone knows whether its command exists; the init then says so in its last line. Null
 * for a line that is the program's own.
 */
export function initFailure(line: string, command: readonly string[]): Failure | null {
  const match = INIT_FAILED.exec(line.trim());
  if (!match) return null;
  const program = match[1] ?? command[0] ?? "the image's command";
  const why = match[2] ?? match[3] ?? "";
  if (/permission denied|exec format/i.test(why))
    return rejected("command_not_executable", `'${program}' cannot be executed: ${why}`);
  return rejected("command_not_found", `the image has no command '${program}': ${why}`);
}
