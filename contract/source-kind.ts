/** Sources that engines read from; `mysql` includes MariaDB. */
export const SOURCE_KINDS = ["mysql", "postgres"] as const;
export type SourceKind = (typeof SOURCE_KINDS)[number];
export const SOURCE_PORT = { mysql: 3306, postgres: 5432 } as const satisfies Record<SourceKind, number>;

/** `disable`: in the clear. `require`: encrypted, whoever answers. `verify-ca`, `verify-full`: the certificate is checked; the name too. */
export const TLS_MODES = ["disable", "require", "verify-ca", "verify-full"] as const;
export type TlsMode = (typeof TLS_MODES)[number];

/** `auto` takes the best that the source is ready for; `poll` reloads every table each interval. */
export const SYNC_MODES = ["auto", "poll", "binlog", "logical"] as const;
