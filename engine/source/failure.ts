import { SOURCE_ERRORS, type SourceErrorCode } from "../../contract/source-error.ts";

/** Why a source does not do what is asked of it. */
export class SourceFailure extends Error {
  readonly code: SourceErrorCode;

  constructor(code: SourceErrorCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }

  get mayPass(): boolean {
    return SOURCE_ERRORS[this.code].retry;
  }
}

const BY_CODE: Record<string, SourceErrorCode> = {
  ENOTFOUND: "dns_failed",
  EAI_AGAIN: "dns_failed",
  ETIMEDOUT: "connect_timeout",
  EHOSTUNREACH: "connect_timeout",
  ENETUNREACH: "connect_timeout",
  ECONNREFUSED: "connect_refused",
  ECONNRESET: "stream_disconnected",
  EPIPE: "stream_disconnected",
  PROTOCOL_CONNECTION_LOST: "stream_disconnected",
  HANDSHAKE_NO_SSL_SUPPORT: "tls_failed",
  HANDSHAKE_SSL_ERROR: "tls_failed",
  DEPTH_ZERO_SELF_SIGNED_CERT: "tls_failed",
  SELF_SIGNED_CERT_IN_CHAIN: "tls_failed",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "tls_failed",
  ERR_TLS_CERT_ALTNAME_INVALID: "tls_failed",
  CERT_HAS_EXPIRED: "tls_failed",
  ER_ACCESS_DENIED_ERROR: "auth_failed",
  ER_HOST_NOT_PRIVILEGED: "host_not_allowed",
  ER_ACCOUNT_HAS_BEEN_LOCKED: "account_locked",
  ER_BAD_DB_ERROR: "schema_missing",
  ER_DBACCESS_DENIED_ERROR: "schema_denied",
  ER_TABLEACCESS_DENIED_ERROR: "select_denied",
  ER_COLUMNACCESS_DENIED_ERROR: "select_denied",
  ER_SPECIFIC_ACCESS_DENIED_ERROR: "repl_grant_missing",
  ER_CON_COUNT_ERROR: "too_many_connections",
  ER_MASTER_FATAL_ERROR_READING_BINLOG: "log_purged",
  "28P01": "auth_failed",
  "28000": "auth_failed",
  "3D000": "schema_missing",
  "3F000": "schema_missing",
  "42501": "select_denied",
  "53300": "too_many_connections",
  "53400": "slot_limit",
  "57P01": "stream_disconnected",
  "57P02": "stream_disconnected",
  "57P03": "connect_refused",
};

/** What a driver throws, by its code. @param otherwise where it is none of those that are known */
export function sourceFailure(error: unknown, otherwise: SourceErrorCode): SourceFailure {
  if (error instanceof SourceFailure) return error;
  const { code, message } = error as { code?: string; message?: string };
  // pg has no code for these.
  if (message?.includes("does not support SSL")) return new SourceFailure("tls_failed", message, error);
  if (message?.startsWith("SASL:")) return new SourceFailure("auth_failed", message, error);
  return new SourceFailure(BY_CODE[code ?? ""] ?? otherwise, message ?? String(error), error);
}
