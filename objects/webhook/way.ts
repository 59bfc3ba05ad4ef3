import { resolvedFault } from "./resolve.ts";
import type { Way } from "./send.ts";
import { allowanceOf } from "./target.ts";

/**
 * Bindings that only some surroundings have. `EGRESS` is the way out on a machine of one's own: a network that connects to nothing but
 * public addresses, whatever a name resolves to. On Cloudflare there is none, and names are looked up first.
 */
type Surroundings = {
  WEBHOOK_TARGETS?: string;
  EGRESS?: { fetch: (url: string, init: RequestInit) => Promise<Response> };
};

export function wayOut(env: object): Way {
  const { EGRESS, WEBHOOK_TARGETS } = env as Surroundings;
  return {
    allowance: allowanceOf(WEBHOOK_TARGETS),
    fetch: EGRESS === undefined ? (url, init) => fetch(url, init) : (url, init) => EGRESS.fetch(url, init),
    resolved: EGRESS === undefined ? (hostname) => resolvedFault(hostname, Date.now()) : null,
  };
}
