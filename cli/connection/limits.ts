/** What a connection allows its instances. */
export type Limits = { allowedSyncMode?: string[]; minSyncInterval?: number };

export const limitsOf = ({ allowedSyncMode, minSyncInterval }: Limits) => ({
  allowed_sync_modes: allowedSyncMode,
  min_sync_interval: minSyncInterval,
});
