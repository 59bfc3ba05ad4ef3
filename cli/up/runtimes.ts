import { request } from "node:http";
import { engineAddresses, socketPathOf } from "../../agent/docker/socket.ts";
import { RUNTIMES, type Runtime } from "../../contract/workload.ts";
import { Failure } from "../failure.ts";

/** `process,docker` as a user writes it. */
export function parseRuntimes(text: string): Runtime[] {
  return text.split(",").map((part) => {
    const runtime = RUNTIMES.find((one) => one === part.trim());
    if (runtime === undefined) throw new Failure(`unknown runtime '${part}': expected some of ${RUNTIMES.join(",")}`);
    return runtime;
  });
}

/** What this machine can run now: processes always, containers when an engine answers. */
export async function presentRuntimes(): Promise<Runtime[]> {
  const uid = process.getuid?.() ?? null;
  const engines = async (runtime: "docker" | "podman") =>
    (await Promise.all(engineAddresses(runtime, process.env, uid).map(engineAt))).filter((engine) => engine !== null);
  const [docker, podman] = await Promise.all([engines("docker"), engines("podman")]);
  return ["process", ...(docker.includes("docker") ? ["docker" as const] : []), ...(podman.includes("podman") ? ["podman" as const] : [])];
}

/** Which engine answers at an address in DOCKER_HOST's form; null: none, or one that is not asked (ssh). */
async function engineAt(address: string): Promise<"docker" | "podman" | null> {
  const socketPath = socketPathOf(address);
  const url = socketPath === null ? address.replace(/^tcp:/, "http:") : "http://localhost";
  if (!url.startsWith("http:")) return null;
  return new Promise((done) => {
    const asked = request(`${url}/version`, { timeout: 1000, ...(socketPath === null ? {} : { socketPath }) }, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (text: string) => {
        body += text;
      });
      response.on("end", () => done(response.statusCode !== 200 ? null : /podman/i.test(body) ? "podman" : "docker"));
      response.on("error", () => done(null));
    });
    asked.on("timeout", () => asked.destroy());
    asked.on("error", () => done(null));
    asked.end();
  });
}
