import { isIP } from "node:net";

/** What is said to such an address does not leave the machine. */
export const isLoopback = (host: string): boolean =>
  host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
