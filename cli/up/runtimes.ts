import { request } from "node:http";
import { text } from "node:stream/consumers";
import { type Runtime, WORKLOAD_RUNTIMES } from "../../contract/workload.ts";
import { Failure } from "../failure.ts";

/** `process,docker` as a user writes it. */
export function parseRuntimes(list: string): Runtime[] {
  return list.split(",").map((part) => {
    const runtime = WORKLOAD_RUNTIMES.find((one) => one === part.trim());
    if (runtime === undefined)
      throw new Failure(`unknown runtime '${part}': expected some of ${WORKLOAD_RUNTIMES.join(",")}`);
    return runtime;
  });
}

/** What this machine can run now: processes and PostgreSQL always, which the agent finds or brings; containers when an engine answers. */
export async function presentRuntimes(): Promise<Runtime[]> {
  const engines = await Promise.all(engineAddresses().map(engineAt));
  return WORKLOAD_RUNTIMES.filter(
    (runtime) => runtime === "process" || runtime === "postgres" || engines.includes(runtime),
  );
}

/** Where an engine usually listens, in the form of DOCKER_HOST. */
function engineAddresses(): string[] {
  const { DOCKER_HOST, CONTAINER_HOST, HOME, XDG_RUNTIME_DIR } = process.env;
  const docker = DOCKER_HOST
    ? []
    : ["unix:///var/run/docker.sock", ...(HOME ? [`unix://${HOME}/.docker/run/docker.sock`] : [])];
  const podman = [
    "unix:///run/podman/podman.sock",
    ...(XDG_RUNTIME_DIR ? [`unix://${XDG_RUNTIME_DIR}/podman/podman.sock`] : []),
  ];
  return [...new Set([DOCKER_HOST ?? "", CONTAINER_HOST ?? "", ...docker, ...podman])].filter(
    (address) => address !== "",
  );
}

/** Which engine answers there; null: none, or one that is not asked (ssh). */
function engineAt(address: string): Promise<Runtime | null> {
  const socketPath = address.startsWith("unix://")
    ? address.slice("unix://".length)
    : address.startsWith("/")
      ? address
      : null;
  const url = socketPath === null ? address.replace(/^tcp:/, "http:") : "http://localhost";
  if (!url.startsWith("http:")) return Promise.resolve(null);
  return new Promise((done) => {
    const asked = request(
      `${url}/version`,
      { timeout: 1000, ...(socketPath === null ? {} : { socketPath }) },
      async (response) => {
        const body = await text(response).catch(() => "");
        done(response.statusCode !== 200 || body === "" ? null : /podman/i.test(body) ? "podman" : "docker");
      },
    );
    asked.on("timeout", () => asked.destroy());
    asked.on("error", () => done(null));
    asked.end();
  });
}
