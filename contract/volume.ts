import { z } from "zod";
import type { Violation } from "./problem.ts";
import { NAMESPACE_FIELD, nameViolations, VOLUME_NAME } from "./resource-name.ts";

export const VOLUME_BACKENDS = ["local", "directory"] as const;

export const VolumeCreate = z.strictObject({
  namespace: z.string(),
  name: z.string(),
  size: z.string().nullish().describe("A note for people: nothing enforces it"),
  backend_type: z
    .string()
    .nullish()
    .describe(`One of ${VOLUME_BACKENDS.join(", ")}; local when left out`),
  labels: z.record(z.string(), z.string()).nullish(),
});
export type VolumeCreate = z.infer<typeof VolumeCreate>;

export const VolumeView = z.object({
  id: z.string(),
  created_at: z.iso.datetime(),
  updated_at: z.iso.datetime().nullable(),
  namespace: z.string(),
  name: z.string(),
  size: z.string().nullable(),
  backend_type: z.string(),
  host_path: z
    .string()
    .nullable()
    .describe("Always null: each host's runtime keeps the data where it keeps all its volumes"),
  labels: z.record(z.string(), z.string()),
  registered_by: z.enum(["api", "deployment"]).describe("`deployment`: it was first named by a manifest"),
  revision: z.int(),
});
export type VolumeView = z.infer<typeof VolumeView>;

export const volumeViolations = (volume: VolumeCreate): Violation[] => [
  ...nameViolations("volume", "namespace", volume.namespace, NAMESPACE_FIELD),
  ...nameViolations("volume", "name", volume.name, VOLUME_NAME),
  ...(volume.backend_type != null && !(VOLUME_BACKENDS as readonly string[]).includes(volume.backend_type)
    ? [
        {
          property_path: "backend_type",
          message: `expected one of ${VOLUME_BACKENDS.join(", ")}, got "${volume.backend_type}"`,
          code: "volume.backend_type.unsupported",
        },
      ]
    : []),
];
