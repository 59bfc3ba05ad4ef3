import { createHash } from "node:crypto";
import type Docker from "dockerode";
import type { Mount, PortMapping, Workload, WorkloadSpec } from "../../contract/workload.ts";
import type { Failure } from "./failure.ts";
import type { FileMount } from "./files.ts";
import { containerName, LABEL, networkName, volumeName } from "./naming.ts";

export type CreationContext = {
  hostId: string;
  runtime: "docker" | "podman";
  /** Whether the engine has a program that takes PID 1 and passes signals on. */
  init: boolean;
  /** Files of the host that are mounted read-only. */
  files?: readonly FileMount[];
};

/** What a container cannot honour, or null. It is said before the engine is asked, in words that name the field. */
export function refusal(spec: WorkloadSpec): Failure | null {
  const config = (reason: string, message: string): Failure => ({ kind: "config_error", reason, message });
  if (spec.image === null) return config("image_missing", "a container needs an image");
  if (spec.user.group !== null && spec.user.id === null)
    return config("group_without_user", "user.group needs user.id");
  const name = Object.keys(spec.environment).find((key) => key === "" || key.includes("=") || key.includes("\0"));
  if (name !== undefined)
    return config("environment_name_invalid", `'${name}' cannot be the name of an environment variable`);
  if (Object.values(spec.environment).some((value) => value.includes("\0"))) {
    return config("environment_value_invalid", "an environment value contains a NUL character");
  }
  const moved =
    spec.network === "host"
      ? spec.ports.find((port) => port.published != null && port.published !== port.target)
      : undefined;
  if (moved) {
    return config(
      "port_mapping_on_host_network",
      `with network 'host' the program's own port is the host's: ${moved.published}:${moved.target} cannot be mapped`,
    );
  }
  const nfs = spec.mounts.find(
    (mount) => mount.driver === "nfs" && (mount.type !== "volume" || !/^[^:]+:\/./.test(mount.source)),
  );
  if (nfs) return config("nfs_source_invalid", `an nfs volume's source must be 'server:/path', not '${nfs.source}'`);
  const relative = [...spec.mounts, ...(spec.files ?? [])].find((mount) => !mount.destination.startsWith("/"));
  if (relative)
    return config("mount_destination_invalid", `mount destination '${relative.destination}' must be an absolute path`);
  return null;
}

/** The engine's create call for a workload. Pure; the same workload always gives the same container. */
export function creation(workload: Workload, context: CreationContext): Docker.ContainerCreateOptions {
  const { spec } = workload;
  const name = containerName(workload);
  const network = networkName(spec.namespace);
  const bridged = spec.network === "bridge";
  const limit = spec.memory_limit_bytes;
  const reserved = spec.memory_reserved_bytes;
  const { exposed, bindings } = bridged ? portMaps(spec.ports) : { exposed: {}, bindings: {} };
  return {
    name,
    Image: spec.image ?? "",
    Labels: labels(workload, context),
    Env: Object.entries(spec.environment).map(([key, value]) => `${key}=${value}`),
    ...(spec.command.length > 0 && { Cmd: spec.command }),
    ...(spec.working_dir !== null && { WorkingDir: spec.working_dir }),
    ...(spec.user.id !== null && {
      User: spec.user.group === null ? `${spec.user.id}` : `${spec.user.id}:${spec.user.group}`,
    }),
    ExposedPorts: exposed,
    StopTimeout: Math.ceil(spec.stop_timeout_ms / 1000),
    HostConfig: {
      NetworkMode: bridged ? network : "host",
      PortBindings: bindings,
      Mounts: [
        ...spec.mounts.map((mount) => mountOf(mount, spec.namespace)),
        ...(context.files ?? []).map(
          ({ source, destination }): Docker.MountSettings => ({
            Type: "bind",
            Source: source,
            Target: destination,
            ReadOnly: true,
          }),
        ),
      ],
      Privileged: spec.user.privileged,
      ...(context.init && { Init: true }),
      ...(spec.cpu_limit_millis !== null && { NanoCpus: spec.cpu_limit_millis * 1_000_000 }),
      // Equal to Memory means no swap: a limit that the kernel can be asked to hold, and the same on every host.
      ...(limit !== null && { Memory: limit, MemorySwap: limit }),
      ...(reserved > 0 && (limit === null || reserved < limit) && { MemoryReservation: reserved }),
      RestartPolicy: { Name: "no" },
      LogConfig: {
        Type: "json-file",
        Config: { "max-size": "10m", ...(context.runtime === "docker" && { "max-file": "3" }) },
      },
    },
    ...(bridged && {
      NetworkingConfig: { EndpointsConfig: { [network]: { Aliases: [...new Set([spec.name, name])] } } },
    }),
  } as Docker.ContainerCreateOptions;
}

/** The user's labels come first, so that they cannot take the place of ours. */
function labels(workload: Workload, context: CreationContext): Record<string, string> {
  return {
    ...workload.spec.labels,
    [LABEL.host]: context.hostId,
    [LABEL.runtime]: context.runtime,
    [LABEL.workload]: workload.id,
    [LABEL.generation]: String(workload.generation),
    [LABEL.owner]: workload.owner,
    [LABEL.namespace]: workload.spec.namespace,
    [LABEL.ringDeployment]: workload.owner,
    ...(workload.spec.run_timeout_ms != null && {
      [LABEL.runTimeout]: String(workload.spec.run_timeout_ms),
      [LABEL.stopTimeout]: String(workload.spec.stop_timeout_ms),
    }),
  };
}

type PortBinding = { HostIp: string; HostPort: string };

function portMaps(ports: readonly PortMapping[]): {
  exposed: Record<string, object>;
  bindings: Record<string, PortBinding[]>;
} {
  const exposed: Record<string, object> = {};
  const bindings: Record<string, PortBinding[]> = {};
  for (const { published, target, host_ip, protocol } of ports) {
    const key = `${target}/${protocol}`;
    exposed[key] = {};
    bindings[key] ??= [];
    // Empty: the engine chooses a free one.
    const HostPort = published == null ? "" : String(published);
    bindings[key].push({ HostIp: host_ip || "0.0.0.0", HostPort });
  }
  return { exposed, bindings };
}

function mountOf(mount: Mount, namespace: string): Docker.MountSettings {
  const place = { Target: mount.destination, ReadOnly: mount.permission === "ro" };
  if (mount.type === "bind") return { ...place, Type: "bind", Source: mount.source };
  const { Name, Labels, Driver, DriverOpts } = volumeCreation(mount, namespace);
  return {
    ...place,
    Type: "volume",
    Source: Name,
    VolumeOptions: { NoCopy: false, Labels, DriverConfig: { Name: Driver, Options: DriverOpts } },
  };
}

/** The named volume behind a mount, as the engine's call to make one takes it. */
export function volumeCreation(mount: Mount, namespace: string) {
  const nfs = mount.driver === "nfs";
  // An nfs source holds characters that a name cannot: the hash keeps two exports apart that look the same without them.
  const hash = nfs ? `-${createHash("sha256").update(mount.source).digest("hex").slice(0, 8)}` : "";
  return {
    Name: volumeName(namespace, mount.source) + hash,
    Driver: "local",
    DriverOpts: nfs ? nfsOptions(mount) : {},
    Labels: { [LABEL.namespace]: namespace },
  };
}

function nfsOptions(mount: Mount): Record<string, string> {
  const colon = mount.source.indexOf(":");
  const access = mount.permission === "ro" ? "ro" : "rw";
  return { type: "nfs", o: `addr=${mount.source.slice(0, colon)},${access}`, device: mount.source.slice(colon) };
}
