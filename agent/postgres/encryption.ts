import { readFile } from "node:fs/promises";
import { isIP } from "node:net";
import { join } from "node:path";
import { selfSigned } from "../../postgres/self-signed.ts";
import type { Cluster } from "./cluster.ts";

const FILES = { certificate: "server.crt", key: "server.key" } as const;

/** It is good for longer than clocks of hosts are apart. */
const YEAR_MS = 365 * 24 * 3_600_000;

/** What is said to a loopback address does not leave the host. */
const isLoopback = (host: string): boolean =>
  host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));

/**
 * A certificate for the writer of one term, which keepers and gateways are told of; null where it is reached on this host only. Nobody has to vouch
 * for it, and none is older than a term.
 */
export async function makeCertificate(cluster: Cluster, host: string): Promise<string | null> {
  if (isLoopback(host)) return null;
  const { certificate, key } = selfSigned("lamplighter writer", [host], Date.now() - YEAR_MS);
  await cluster.write(FILES.key, key, 0o600);
  await cluster.write(FILES.certificate, certificate);
  return certificate;
}

/** That of the writer that runs. */
export const certificateOf = async (cluster: Cluster, host: string): Promise<string | null> =>
  isLoopback(host) ? null : await readFile(join(cluster.folder, FILES.certificate), "utf8").catch(() => null);

export const encryptionParameters = (folder: string): Record<string, string> => ({
  ssl: "on",
  ssl_cert_file: join(folder, FILES.certificate),
  ssl_key_file: join(folder, FILES.key),
});
