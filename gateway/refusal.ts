import { errorResponse, type Report } from "../postgres/wire/message.ts";

/**
 * Every error that the gateway itself answers, by its SQLSTATE. A driver can tell from it whether to try again: 57P03 and 53300 soon, 08006 on a new
 * connection, 08007 after looking, 57P01 at once; the others not at all.
 */
const REFUSALS = {
  wrong_password: { code: "28P01" },
  plaintext: {
    code: "28000",
    message: "this server takes encrypted connections only",
    hint: "Connect with sslmode=require, or better verify-full.",
  },
  address: { code: "28000", message: "this database does not take connections from your address" },
  server_name: {
    code: "28000",
    message: "the host name that you connected to is not one of this database",
    hint: "Use the host name of the database's own connection string.",
  },
  replication: { code: "42501", message: "replication connections are not served here" },
  no_database: { code: "3D000" },
  refused: { code: "53400", message: "this database may not be opened now" },
  too_many_clients: {
    code: "53300",
    message: "sorry, too many clients already",
    hint: "Close connections that are not used, or use a pool.",
  },
  starting: {
    code: "57P03",
    message: "the database is still starting",
    hint: "Connect again: it goes on starting meanwhile.",
  },
  wake_failed: { code: "57P03", message: "the database cannot be started now" },
  no_control_plane: {
    code: "57P03",
    message: "the gateway cannot reach its control plane",
    hint: "Connect again in a moment. Sessions that are open are not affected.",
  },
  credentials_differ: {
    code: "28000",
    message: "PostgreSQL does not know the role by the password that is valid here",
    hint: "The password was changed inside PostgreSQL. Rotate the credentials to set it again.",
  },
  backend_protocol: { code: "08P01", message: "the database answered the login in an unexpected way" },
  backend_lost: { code: "08006", message: "the connection to the database was lost" },
  in_doubt: {
    code: "08007",
    message: "the connection to the database was lost before it answered",
    hint: "The transaction may have been committed, or not. Look before you repeat it.",
  },
  not_durable: {
    code: "08007",
    message: "the commit was cancelled while it waited to become durable",
    hint: "The transaction may be kept, or be lost. Look before you repeat it.",
  },
  shutdown: {
    code: "57P01",
    message: "this gateway is shutting down",
    hint: "Connect again: another gateway, or the next one here, takes over. The database goes on.",
  },
  superseded: {
    code: "57P01",
    message: "the database has moved to a new writer",
    hint: "Connect again: the same address leads there.",
  },
  revoked: { code: "57P01", message: "the database was deleted or suspended" },
  timeout: { code: "57014", message: "canceling authentication due to timeout" },
} as const satisfies Record<string, { code: string; message?: string; hint?: string }>;

export type RefusalName = keyof typeof REFUSALS;

/** Something a client has to be told before its connection is closed. */
export class Refusal extends Error {
  readonly refusal: RefusalName | "protocol" | "postgres";
  readonly report: Report;

  constructor(refusal: Refusal["refusal"], report: Report) {
    super(report.message);
    this.refusal = refusal;
    this.report = report;
  }

  get packet(): Buffer {
    return errorResponse(this.report);
  }
}

export function refusal(name: RefusalName, more: Partial<Report> = {}): Refusal {
  const known: { code: string; message?: string; hint?: string } = REFUSALS[name];
  return new Refusal(name, { severity: "FATAL", message: name, ...known, ...more });
}

/** The client does not follow the protocol. */
export const violation = (code: string, message: string): Refusal =>
  new Refusal("protocol", { severity: "FATAL", code, message });
