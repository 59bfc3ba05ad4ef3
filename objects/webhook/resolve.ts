import { addressFault } from "./target.ts";

/** How long an answer about a name is believed, ms. */
const BELIEVED_MS = 60_000;
const KEPT_AT_MOST = 1_000;

const known = new Map<string, { fault: string | null; until: number }>();

/**
 * Why a host may not be sent to, by the addresses that its name has now: every one must be public. For Cloudflare, where `node:dns` asks
 * their resolver; on a machine of one's own the way out itself looks at what it connects to.
 */
export async function resolvedFault(hostname: string, now: number): Promise<string | null> {
  const before = known.get(hostname);
  if (before && before.until > now) return before.fault;
  const { resolve4, resolve6 } = await import("node:dns/promises");
  const none = (): string[] => [];
  const addresses = (await Promise.all([resolve4(hostname).catch(none), resolve6(hostname).catch(none)])).flat();
  if (addresses.length === 0) return `${hostname} has no address`;
  const fault = addresses.map(addressFault).find((each) => each !== null) ?? null;
  if (known.size >= KEPT_AT_MOST) known.clear();
  known.set(hostname, { fault, until: now + BELIEVED_MS });
  return fault;
}
