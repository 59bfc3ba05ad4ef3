import { Failure } from "./failure.ts";

export type ListenAddress = { host: string; port: number };

/** `host:port`, with an IPv6 host in brackets. @param flag where it was given */
export function listenAddress(text: string, flag: string, example: string): ListenAddress {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  if (match === null || Number(match[3]) > 65535)
    throw new Failure(`${flag} '${text}': expected host:port, such as ${example}`);
  return { host: (match[1] ?? match[2]) as string, port: Number(match[3]) };
}
