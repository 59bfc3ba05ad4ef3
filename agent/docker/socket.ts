/** Where an engine may answer: an address in the form of DOCKER_HOST. */
export type EngineAddress = string;

type Environment = Record<string, string | undefined>;

const LOCAL_DOCKER = "unix:///var/run/docker.sock";

/**
 * Addresses to try for a runtime, in order. Docker: DOCKER_HOST, else the system's socket and the one of Docker Desktop. Podman:
 * LAMPLIGHTER_PODMAN_HOST, CONTAINER_HOST, DOCKER_HOST, then the user's sockets and the system's. An address named in the environment does
 * not hide the later ones for Podman, because DOCKER_HOST often names a Docker Engine there; the driver keeps the first that is what it wants.
 */
export function engineAddresses(runtime: "docker" | "podman", env: Environment, uid: number | null): EngineAddress[] {
  if (runtime === "docker") {
    if (env.DOCKER_HOST) return [normal(env.DOCKER_HOST)];
    return [LOCAL_DOCKER, ...(env.HOME ? [`unix://${env.HOME}/.docker/run/docker.sock`] : [])];
  }
  const named = [env.LAMPLIGHTER_PODMAN_HOST, env.CONTAINER_HOST, env.DOCKER_HOST].filter(
    (it) => it !== undefined && it !== "",
  );
  const sockets = [
    ...(env.XDG_RUNTIME_DIR ? [`unix://${env.XDG_RUNTIME_DIR}/podman/podman.sock`] : []),
    ...(uid === null ? [] : [`unix:///run/user/${uid}/podman/podman.sock`]),
    "unix:///run/podman/podman.sock",
  ];
  return [...new Set([...named.map((it) => normal(it as string)), ...sockets])];
}

/** An address without a scheme is a path when it starts with a slash, else a TCP address. */
function normal(address: string): EngineAddress {
  if (address.includes("://")) return address === "unix://" ? LOCAL_DOCKER : address;
  return address.startsWith("/") ? `unix://${address}` : `tcp://${address}`;
}

/** The path of a unix socket address, null for any other kind. */
export const socketPathOf = (address: EngineAddress): string | null =>
  address.startsWith("unix://") ? address.slice("unix://".length) : null;
