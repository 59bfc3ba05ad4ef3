// One way into each status of failure that is tried again, on a real engine, with what mends it.
import { createHash, randomBytes } from "node:crypto";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type Docker from "dockerode";
import { networkName, volumeName } from "../../agent/docker/naming.ts";
import type { FailureKind } from "../../contract/workload.ts";
import { testImage } from "../docker-image.ts";
import type { ManifestBody } from "./client.ts";
import type { Cluster } from "./cluster.ts";
import type { FaultyEngine } from "./faulty-engine.ts";
import { worker } from "./manifests.ts";

export type Trouble = {
  /** Fails on this machine as it is. */
  manifest: ManifestBody;
  /** Makes the machine such that it would run. */
  mend: () => Promise<unknown>;
  /** Would run on the machine as it is; the same manifest where nothing in a manifest could help. */
  fixed: ManifestBody;
};

/** Where troubles are made, and what was made for them. */
export type Ground = {
  cluster: Cluster;
  engine: Docker;
  faulty: FaultyEngine;
  /** Done at the end. */
  after: (() => Promise<unknown>)[];
};

/** On the one host whose engine does as it is told. */
export const WELL = { placement: { labels: { engine: "well" } } };
const FAULTY = { placement: { labels: { engine: "faulty" } } };

type Make = (ground: Ground, name: string, forGood: boolean) => Promise<Trouble> | Trouble;

export const TROUBLES: Record<FailureKind, Make> = {
  image_pull_back_off: ({ cluster, engine, after }, name) => {
    const repo = `lamplighter/absent-${randomBytes(4).toString("hex")}`;
    after.push(() => engine.getImage(`${repo}:1`).remove({ force: true }));
    return {
      manifest: worker(cluster, "docker", name, { ...WELL, image: `${repo}:1` }),
      mend: () => engine.getImage(testImage).tag({ repo, tag: "1" }),
      fixed: worker(cluster, "docker", name, WELL),
    };
  },

  create_container_error: ({ cluster }, name) => {
    const source = join(cluster.marks, `folder-${name}`);
    const volumes = [{ type: "bind", source, destination: "/there" }];
    return {
      manifest: worker(cluster, "docker", name, { ...WELL, volumes }),
      mend: async () => mkdirSync(source),
      fixed: worker(cluster, "docker", name, WELL),
    };
  },

  // Somebody else's network has the bridge that the namespace's network would have.
  network_error: async ({ cluster, engine, after }, name) => {
    const namespace = `${cluster.namespace}-${name}`.slice(0, 60);
    const network = networkName(namespace);
    const bridge = `ll${createHash("sha256").update(network).digest("hex").slice(0, 12)}`;
    const foreign = await engine.createNetwork({
      Name: `foreign-${network}`,
      Driver: "bridge",
      Options: { "com.docker.network.bridge.name": bridge },
    });
    after.push(() => engine.getNetwork(network).remove());
    after.push(() => foreign.remove());
    const manifest = { ...worker(cluster, "docker", name, WELL), namespace };
    return { manifest, mend: () => foreign.remove(), fixed: manifest };
  },

  // A config that is not there is waited for without end; credentials for another registry are wrong for good.
  config_error: ({ cluster }, name, forGood) => {
    const volumes = [{ type: "config", source: name, key: "a", destination: "/etc/a" }];
    const credentials = { image_pull_policy: "Never", server: "registry.invalid", username: "u", password: "p" };
    return {
      manifest: worker(cluster, "docker", name, { ...WELL, ...(forGood ? { config: credentials } : { volumes }) }),
      mend: () =>
        cluster.client.send("POST", "/configs", {
          body: { namespace: cluster.namespace, name, data: '{"a":"b"}' },
        }),
      fixed: worker(cluster, "docker", name, WELL),
    };
  },

  // The volume is there, and what it stands for is not.
  file_system_error: async ({ cluster, engine, after }, name) => {
    const device = join(cluster.folder, `device-${name}`);
    const Name = volumeName(cluster.namespace, name);
    await engine.createVolume({ Name, Driver: "local", DriverOpts: { type: "none", o: "bind", device } });
    after.push(() => engine.getVolume(Name).remove());
    return {
      manifest: worker(cluster, "docker", name, {
        ...WELL,
        volumes: [{ type: "volume", source: name, destination: "/data" }],
      }),
      mend: async () => mkdirSync(device),
      fixed: worker(cluster, "docker", name, WELL),
    };
  },

  error: ({ cluster, faulty }, name) => {
    const manifest = worker(cluster, "docker", name, FAULTY);
    faulty.fails.add(`_${name}_`);
    return { manifest, mend: async () => faulty.fails.delete(`_${name}_`), fixed: manifest };
  },
};
