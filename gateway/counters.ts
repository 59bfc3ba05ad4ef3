/** What a gateway has done since it started, and what it does now. */
export type Counters = {
  connections_total: number;
  connections: number;
  /** Connected, and not authenticated yet. */
  logins: number;
  sessions: number;
  waiting: number;
  logins_total: number;
  logins_failed_total: number;
  /** Of those, told later for being too many. */
  logins_slowed_total: number;
  sessions_total: number;
  /** Of those, begun while the control plane could not be asked. */
  sessions_unconfirmed_total: number;
  wakes_total: number;
  wakes_failed_total: number;
  lookups_total: number;
  lookups_failed_total: number;
  cancels_total: number;
  cancels_forwarded_total: number;
  /** See gateway/cancel-hold.ts. */
  cancels_held_total: number;
  cancels_unknown_total: number;
  backends_lost_total: number;
  commits_in_doubt_total: number;
  /** See gateway/commit-override.ts. */
  commit_overrides_total: number;
  tls_failed_total: number;
  /** Of refusals, by SQLSTATE. */
  refused_total: Record<string, number>;
  bytes_from_clients_total: number;
  bytes_to_clients_total: number;
};

export const noCounts = (): Counters => ({
  connections_total: 0,
  connections: 0,
  logins: 0,
  sessions: 0,
  waiting: 0,
  logins_total: 0,
  logins_failed_total: 0,
  logins_slowed_total: 0,
  sessions_total: 0,
  sessions_unconfirmed_total: 0,
  wakes_total: 0,
  wakes_failed_total: 0,
  lookups_total: 0,
  lookups_failed_total: 0,
  cancels_total: 0,
  cancels_forwarded_total: 0,
  cancels_held_total: 0,
  cancels_unknown_total: 0,
  backends_lost_total: 0,
  commits_in_doubt_total: 0,
  commit_overrides_total: 0,
  tls_failed_total: 0,
  refused_total: {},
  bytes_from_clients_total: 0,
  bytes_to_clients_total: 0,
});

export function countRefusal(counters: Counters, code: string): void {
  counters.refused_total[code] = (counters.refused_total[code] ?? 0) + 1;
}
