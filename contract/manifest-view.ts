import { z } from "zod";
import { HealthCheck } from "./health.ts";
import { MANIFEST_FIELDS } from "./manifest.ts";
import { PortMapping, PullPolicy } from "./workload.ts";

/** A manifest as it is answered: every default filled in, quantities as text, and never a password. */

const Amounts = z.object({ cpu: z.string().optional(), memory: z.string().optional() });

export const ResourcesView = z.object({ limits: Amounts.optional(), requests: Amounts.optional() });

export const MountView = z.object({
  type: z.enum(["bind", "volume", "config", "secret"]),
  source: z.string().nullish(),
  key: z.string().nullish(),
  destination: z.string(),
  driver: z.enum(["local", "nfs"]),
  permission: z.enum(["ro", "rw"]),
});

export const EnvironmentView = z.record(
  z.string(),
  z.union([z.string(), z.object({ secretRef: z.string() }), z.object({ configRef: z.string(), key: z.string() })]),
);

/** How the image is pulled, and as whom the program runs. */
export const PullView = z.object({
  image_pull_policy: z.string().describe(PullPolicy.options.join(", ")),
  server: z.string().nullish(),
  username: z.string().nullish(),
  password: z.string().nullish().describe("Never answered: null"),
  image_pull_secret: z.string().nullish(),
  use_host_auth: z.boolean().nullish(),
  user: z.object({ id: z.int().nullish(), group: z.int().nullish(), privileged: z.boolean() }).nullish(),
});

export const AutoscaleView = z.object({ min: z.int(), max: z.int(), target_cpu: z.number() });

export const PlacementView = z.object({ labels: z.record(z.string(), z.string()) });

export const ManifestView = z.object({
  ...MANIFEST_FIELDS,
  labels: z.record(z.string(), z.string()),
  environment: EnvironmentView,
  ports: z.array(PortMapping),
  volumes: z.array(MountView),
  resources: ResourcesView.nullish(),
  config: PullView.nullish(),
  autoscale: AutoscaleView.nullish(),
  placement: PlacementView.nullish(),
  health_checks: z.array(HealthCheck),
});
export type ManifestView = z.infer<typeof ManifestView>;
