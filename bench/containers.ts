import { randomBytes } from "node:crypto";
import Docker from "dockerode";
import { networkName } from "../agent/docker/naming.ts";
import type { HostView } from "../contract/host.ts";
import { ensureTestImage, testImage } from "../test/docker-image.ts";
import { requires } from "../test/requires.ts";
import type { Setting } from "./figure.ts";
import { Site } from "./site.ts";

/** A control plane with a real agent on this machine's container engine, and the engine itself beside it. */
export type ContainerSite = { site: Site; host: HostView; engine: Docker; namespace: string };

/** Answers why not, when there is no engine. What is left in it of the namespace is removed at the end. */
export async function containerSite({ after }: Setting): Promise<ContainerSite | string> {
  const part = await requires("docker");
  if (!part.available) return part.reason;
  await ensureTestImage(part.path);
  const engine = new Docker({ socketPath: part.path });
  const namespace = `bench-${randomBytes(3).toString("hex")}`;
  after(async () => {
    await engine
      .getNetwork(networkName(namespace))
      .remove()
      .catch(() => undefined);
  });
  after(async () => {
    const left = await engine.listContainers({ all: true, filters: { label: [`lamplighter.namespace=${namespace}`] } });
    for (const { Id } of left)
      await engine
        .getContainer(Id)
        .remove({ force: true })
        .catch(() => undefined);
  });
  const site = await Site.start(after);
  const host = await site.startAgent(["process", "docker"], after);
  return { site, host, engine, namespace };
}

export const containerManifest = (namespace: string, name: string) => ({
  name,
  namespace,
  runtime: "docker",
  image: testImage,
  command: ["sleep", "1000"],
  config: { image_pull_policy: "IfNotPresent" },
  network: { mode: "bridge" },
  stop_timeout: "1s",
});

/** Resolves when nothing of it is left, so that its end is not part of what is measured next. */
export async function removeDeployment(site: Site, id: string): Promise<void> {
  await site.client.send("DELETE", `/deployments/${id}`, { headers: { prefer: "wait=60" } });
}
