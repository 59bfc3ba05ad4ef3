import { PROFILES } from "../../contract/database-profile.ts";
import type { Lookup } from "../../contract/gateway.ts";
import { credentialsOf, scramOf } from "./credential.ts";
import type { DatabaseRecord } from "./record.ts";

/** How long a gateway may use what it was told, ms: at once it hears of a change only while it has a lease; and without the control plane. */
export const LOOKUP_FRESH_MS = 60_000;
export const LOOKUP_STALE_MS = 24 * 3_600_000;
/** Connections that are kept for PostgreSQL's own use and the agent's. */
const KEPT_CONNECTIONS = 5;

/** What a gateway may know of a role and the name of a database: no password, and whether this one may be opened. */
export function lookupOf(sql: SqlStorage, { identity, settings, state }: DatabaseRecord, name: string): Lookup {
  const known = credentialsOf(sql);
  const { salt, iterations } = scramOf(sql);
  return {
    salt,
    iterations,
    verifiers: known.map(({ verifier, bridge }) => ({ ...verifier, bridge })),
    database:
      name !== identity.name
        ? null
        : {
            id: identity.id,
            // A sleeping one has by the time that it is awake what is newest now.
            installed:
              state.status === "ready" || state.status === "booting"
                ? (installedOf(state) ?? known[0]?.verifier.id ?? "")
                : (known[0]?.verifier.id ?? ""),
            role: identity.role,
            name: identity.name,
            server_names: [],
            allowed_addresses: settings.allowed_addresses,
            clients_most: PROFILES[settings.profile].max_connections - KEPT_CONNECTIONS,
            refused: null,
          },
    fresh_ms: LOOKUP_FRESH_MS,
    stale_ms: LOOKUP_STALE_MS,
  };
}

const installedOf = (state: DatabaseRecord["state"]): string | null =>
  state.status === "booting" ? (state.ordered ?? null) : state.installed;
