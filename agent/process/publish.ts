import type { BoundPort, WorkloadSpec } from "../../contract/workload.ts";
import { type Fault, fault } from "./fault.ts";
import type { Ports } from "./port.ts";

/** The ports of an instance: the one that it is reached by, and which of the host's stands for each of its specification. */
export type Taken = { port: number; bound: BoundPort[] };

/** The port that the specification asks for; `any` when it leaves the choice to the agent. */
export function wishedPort(spec: WorkloadSpec): number | "any" | Fault {
  const published = spec.ports[0]?.published ?? undefined;
  const variable = spec.environment.PORT;
  if (variable === undefined) return published ?? "any";
  const number = /^\d{1,5}$/.test(variable) ? Number(variable) : 0;
  if (number < 1 || number > 65535)
    return fault("invalid_port", "environment.PORT: expected a port from 1 to 65535", "config_error");
  if (published !== undefined && published !== number) {
    return fault("port_conflict", `environment.PORT: differs from ports[0].published (${published})`, "config_error");
  }
  return number;
}

/** Takes every port of a specification, or one of the agent's range when it names none. What an attempt before a crash has taken is given back first. */
export async function takePorts(spec: WorkloadSpec, ports: Ports, mark: string): Promise<Taken | Fault> {
  const wish = wishedPort(spec);
  if (typeof wish === "object") return wish;
  ports.release(mark);
  const taken = await takeAll(spec, wish, ports, mark);
  if ("reason" in taken) ports.release(mark);
  return taken;
}

async function takeAll(spec: WorkloadSpec, wish: number | "any", ports: Ports, mark: string): Promise<Taken | Fault> {
  const chosen = new Map<number, number>();
  const bound: BoundPort[] = [];
  // Those that are asked for go first, so that none of them is chosen for another.
  const asks = spec.ports.map((port, index) => (index === 0 && wish !== "any" ? wish : (port.published ?? null)));
  if (spec.ports.length === 0 && wish !== "any") asks.push(wish);
  for (const [index, number] of asks.entries()) {
    const protocol = spec.ports[index]?.protocol ?? "tcp";
    if (number !== null && !(await ports.takeThis(number, protocol, mark)))
      return fault("port_taken", `ports: port ${number} (${protocol}) of the host is taken`);
  }
  for (const [index, { target, protocol }] of spec.ports.entries()) {
    // A port in tcp and in udp is one number, because the program is told one.
    const protocols = spec.ports.filter((port) => port.target === target).map((port) => port.protocol);
    const number = asks[index] ?? chosen.get(target) ?? (await ports.take(mark, protocols));
    if (number === null) return NONE_FREE;
    if (asks[index] === null) chosen.set(target, number);
    bound.push({ target, published: number, host_ip: null, protocol });
  }
  const port = bound[0]?.published ?? asks[0] ?? (await ports.take(mark));
  return port === null ? NONE_FREE : { port, bound };
}

const NONE_FREE = fault("no_free_port", "every port of the agent's range is taken");

/** What the program is told of its ports: each by the number that its specification calls it, and the first as PORT. */
export const portVariables = ({ port, bound }: Taken): Record<string, string> => ({
  ...Object.fromEntries(bound.map(({ target, published }) => [`PORT_${target}`, String(published)])),
  PORT: String(port),
});
