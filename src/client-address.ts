/**
 * Where a client is, as far as it can be known: by the header that the operator says can be believed (`CLIENT_ADDRESS_HEADER`; on Cloudflare
 * `cf-connecting-ip`). Without it there is none: anybody can send any header. Of an IPv6 address the network counts, since whoever has one
 * address has 2^64.
 */
export function clientAddress(request: Request, env: Env): string | null {
  if (!env.CLIENT_ADDRESS_HEADER) return null;
  // Of a list, a proxy appends the address that it saw itself.
  const text = request.headers.get(env.CLIENT_ADDRESS_HEADER)?.split(",").at(-1)?.trim().toLowerCase() ?? "";
  if (/^\d{1,3}(\.\d{1,3}){3}$/.test(text)) return text;
  return /^[0-9a-f:.]{2,45}$/.test(text) && text.includes(":") ? networkOf(text) : null;
}

function networkOf(address: string): string {
  const mapped = /^::ffff:(\d{1,3}(?:\.\d{1,3}){3})$/.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  const [head = "", tail] = address.split("::");
  const before = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = tail === undefined ? [] : Array<string>(Math.max(0, 8 - before.length - after.length)).fill("0");
  return `${[...before, ...zeros, ...after].slice(0, 4).join(":")}::/64`;
}
