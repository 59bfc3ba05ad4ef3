import type { KeptDatabase } from "../contract/keeper.ts";

/** Who ships what is closed: told when there may be something. */
export type Shipping = {
  kick(): void;
  filled(timeline: number, segments: readonly number[]): void;
  status(): KeptDatabase["store"];
  has(timeline: number, segment: number): boolean;
  /** Looks anew what is here. */
  readLocal(): Promise<void>;
};

const NOTHING: KeptDatabase["store"] = { shipped_lsn: null, pending_segments: 0, failing_since: null, error: null };

export const NOBODY: Shipping = {
  kick() {},
  filled() {},
  status: () => NOTHING,
  has: () => false,
  readLocal: async () => {},
};
