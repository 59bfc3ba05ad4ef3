import { isIPv6 } from "node:net";
import type { Reach } from "../driver.ts";
import type { Subject } from "../subject.ts";

/** Where a check knocks; `LOCAL` stands for this host's own loopback, by either version of IP. */
export type Place = { host: string; port: number };
export const LOCAL = "localhost";

/** Where an instance's port is from here; a text is why it cannot be reached. */
export function placeOf({ spec, seen }: Subject, port: number, reach: Reach): Place | string {
  const bound = seen?.ports?.find(({ target, protocol }) => target === port && protocol === "tcp");
  if (spec.runtime === "process") return { host: LOCAL, port: bound?.published ?? port };
  if (spec.network === "host") return { host: reach.own ? LOCAL : reach.host, port };
  const address = seen?.address ?? null;
  if (reach.own && address !== null) return { host: address, port };
  if (bound) return { host: bound.host_ip ?? (reach.own ? LOCAL : reach.host), port: bound.published };
  return `the container's own address cannot be reached from this host, and its port ${port} is not published`;
}

const OWN_NAMES = new Set(["localhost", "127.0.0.1", "[::1]", "0.0.0.0"]);

/** Whether a URL's host stands for the instance. */
export const isOwn = (url: URL): boolean => OWN_NAMES.has(url.hostname);

export const portOf = (url: URL): number => Number(url.port) || (url.protocol === "https:" ? 443 : 80);

export const placeText = ({ host, port }: Place): string => `${isIPv6(host) ? `[${host}]` : host}:${port}`;
