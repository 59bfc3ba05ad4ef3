import type { ConfigView } from "../../contract/config.ts";

export type Config = { data: string; labels: string | null };

export const configView = (head: Omit<ConfigView, keyof Config>, { data, labels }: Config): ConfigView => ({
  ...head,
  data,
  labels,
});
