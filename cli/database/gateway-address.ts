import { Failure } from "../failure.ts";
import type { Session } from "../session.ts";

export type GatewayAddress = { host: string; port: number };

/** Where clients connect to: as it was given, or as the control plane names it. */
export async function gatewayAddress(session: Session, given: string | undefined): Promise<GatewayAddress> {
  const gateway = given ?? (JSON.parse((await session.api.get("/gateway")).text) as { address: string | null }).address;
  if (gateway === null)
    throw new Failure("the control plane does not say where a gateway is", {
      hint: "Give --gateway host:port, or set GATEWAY_ADDRESS on the control plane.",
    });
  return hostAndPort(gateway);
}

export function hostAndPort(gateway: string): GatewayAddress {
  if (!URL.canParse(`postgres://${gateway}`))
    throw new Failure(`--gateway '${gateway}': expected host:port, such as db.example.com:5432`);
  const { hostname, port } = new URL(`postgres://${gateway}`);
  return { host: hostname.replace(/^\[|\]$/g, ""), port: Number(port || "5432") };
}

export const GATEWAY_OPTION = [
  "--gateway <host:port>",
  "the gateway's address; otherwise the one that the control plane names",
] as const;
