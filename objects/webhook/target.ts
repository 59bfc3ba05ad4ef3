import ipaddr from "ipaddr.js";

/** Where webhooks may go: `public` is https to the Internet and nothing else; `any` also http, this machine and its networks. */
export type Allowance = "public" | "any";

/** Anything but the word `any` is strict. */
export const allowanceOf = (word: string | undefined): Allowance => (word === "any" ? "any" : "public");

/** Names that no public resolver answers, or that stand for this machine or its network. */
const LOCAL_SUFFIXES = [
  "localhost",
  "local",
  "localdomain",
  "internal",
  "intranet",
  "lan",
  "corp",
  "home.arpa",
  "onion",
];
/** Public addresses at which a cloud's own machines ask about themselves. */
const METADATA = ["168.63.129.16"];
/** Above 1023, but spoken to by something else than HTTP: databases, caches, brokers, engines. */
const FOREIGN_PORTS: ReadonlySet<number> = new Set([
  1433, 1521, 2375, 2376, 2379, 2380, 3306, 3389, 4369, 5432, 5672, 5900, 6000, 6379, 6443, 6660, 6667, 6697, 9042,
  9092, 9200, 9300, 10250, 10255, 11211, 27017,
]);

/**
 * Why an address may not be a webhook's, or null. Asked when it is given and before every request. WHATWG's parser has put octal, hex, short
 * and full-width forms into dotted decimals by then, so that one look at the address itself is enough.
 */
export function targetFault(text: string, allowance: Allowance): string | null {
  if (/[\s\\]/.test(text) || hasControl(text))
    return "expected a URL without spaces, backslashes or control characters";
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return "expected a URL such as https://example.com/hook";
  }
  if (url.protocol !== "https:" && url.protocol !== "http:") return `expected https, got ${url.protocol.slice(0, -1)}`;
  if (url.username !== "" || url.password !== "" || /^[a-z]+:\/\/[^/?#]*@/i.test(text))
    return "expected a URL without user or password";
  if (url.hash !== "") return "expected a URL without a fragment";
  if (allowance === "any") return null;
  if (url.protocol === "http:") return "expected https: plain http is not allowed here";
  return portFault(url.port) ?? hostFault(url.hostname);
}

function portFault(port: string): string | null {
  if (port === "") return null;
  const number = Number(port);
  return number < 1024 || FOREIGN_PORTS.has(number)
    ? `port ${port} is not one that webhooks are sent to: leave it out, or use one above 1023 that HTTP is spoken on`
    : null;
}

function hostFault(hostname: string): string | null {
  if (hostname.startsWith("[")) return addressFault(hostname.slice(1, -1));
  const name = hostname.replace(/\.+$/, "").toLowerCase();
  if (name === "") return "expected a host";
  if (ipaddr.IPv4.isValid(name)) return addressFault(name);
  const local = LOCAL_SUFFIXES.find((suffix) => name === suffix || name.endsWith(`.${suffix}`));
  if (local !== undefined) return `${name} is not a public host`;
  if (!name.includes(".")) return `${name} is not a public host: expected a full name`;
  // A name whose last part is a number is an address to some resolvers, and never a public name.
  return /(^|\.)(\d+|0x[0-9a-f]*)$/.test(name) ? `${name} is not a public host` : null;
}

/** Why nothing is sent to an IP address, or null: only global unicast addresses are public, whatever they are wrapped in. */
export function addressFault(text: string): string | null {
  if (!ipaddr.isValid(text)) return `${text} is not an address`;
  const address = ipaddr.parse(text);
  const no = (range: string) => `${text} is not a public address (${range})`;
  if (METADATA.includes(text)) return no("metadata");
  const range = address.range();
  if (range !== "unicast") return no(range);
  // Outside 2000::/3 nothing is routed; the forms that embed an IPv4 address without a range of their own are there.
  if (address instanceof ipaddr.IPv6 && !address.match(ipaddr.IPv6.parse("2000::"), 3)) return no("reserved");
  return null;
}

function hasControl(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x20 || code === 0x7f) return true;
  }
  return false;
}
