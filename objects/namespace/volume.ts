import type { VolumeView } from "../../contract/volume.ts";

/** The entry of a named volume. The data is on the hosts, in each a volume of its own. */
export type Volume = {
  size: string | null;
  backend_type: string;
  labels: Record<string, string>;
  registered_by: "api" | "deployment";
};

export const volumeView = (head: Omit<VolumeView, keyof Volume | "host_path">, volume: Volume): VolumeView => ({
  ...head,
  host_path: null,
  ...volume,
});
