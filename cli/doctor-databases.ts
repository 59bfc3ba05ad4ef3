import { connect } from "node:net";
import type { KeepersView } from "../contract/keepers-view.ts";
import type { Api } from "./api.ts";
import { hostAndPort } from "./database/gateway-address.ts";
import type { Check } from "./doctor.ts";
import { Failure, Refused } from "./failure.ts";

const group = "Databases";
const ANSWERS_WITHIN_MS = 5_000;

/** Whether the keepers answer the hosts, and the gateway this machine. */
export async function databaseChecks(api: Api): Promise<Check[]> {
  return [
    ...(await checked("keepers", () => keeperChecks(api))),
    ...(await checked("gateway", () => gatewayCheck(api))),
  ];
}

async function keeperChecks(api: Api): Promise<Check[]> {
  const { setting_error, keepers } = JSON.parse((await api.get("/keepers")).text) as KeepersView;
  if (setting_error !== null) return [{ group, outcome: "failed", text: setting_error }];
  if (keepers.length === 0)
    return [{ group, outcome: "skipped", text: "no keeper is set in KEEPERS: commits are on their host's disk only" }];
  return keepers.map(({ name, url, answers, message }) => ({
    group,
    outcome: answers === null ? "skipped" : answers ? "ok" : "failed",
    text: `keeper ${name} at ${url}: ${message}`,
  }));
}

async function gatewayCheck(api: Api): Promise<Check[]> {
  const { address } = JSON.parse((await api.get("/gateway")).text) as { address: string | null };
  if (address === null) return [{ group, outcome: "skipped", text: "no gateway is named in GATEWAY_ADDRESS" }];
  const fault = await faultOf(hostAndPort(address));
  return [
    { group, outcome: fault === null ? "ok" : "failed", text: `gateway at ${address}: ${fault ?? "it answers"}` },
  ];
}

/** Asks for TLS, which every PostgreSQL server answers with one letter, and before anything is said about anybody. */
function faultOf(to: { host: string; port: number }): Promise<string | null> {
  return new Promise((done) => {
    const socket = connect(to, () => socket.write(Buffer.from([0, 0, 0, 8, 4, 210, 22, 47])));
    const end = (fault: string | null) => {
      socket.destroy();
      done(fault);
    };
    socket.setTimeout(ANSWERS_WITHIN_MS, () => end("it does not answer"));
    socket.once("error", (error) => end(error.message));
    socket.once("close", () => end("it closes the connection"));
    socket.once("data", (bytes) =>
      end(
        ["S", "N"].includes(bytes.toString("latin1")) ? null : "what listens there does not speak as PostgreSQL does",
      ),
    );
  });
}

async function checked(what: string, look: () => Promise<Check[]>): Promise<Check[]> {
  try {
    return await look();
  } catch (error) {
    if (error instanceof Refused && error.problem.status === 403)
      return [{ group, outcome: "skipped", text: `the token may not ask about the ${what}` }];
    if (error instanceof Failure) return [{ group, outcome: "failed", text: `${what}: ${error.message}` }];
    throw error;
  }
}
