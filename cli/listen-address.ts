import { Failure } from "./failure.ts";

/** What `--listen` says. */
export function listenAddress(text: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  if (match === null || Number(match[3]) > 65535)
    throw new Failure(`--listen '${text}': expected host:port, such as 0.0.0.0:7443`);
  return { host: (match[1] ?? match[2]) as string, port: Number(match[3]) };
}
