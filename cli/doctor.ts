import type { Command } from "commander";
import type { HostView } from "../contract/host.ts";
import type { Principal } from "../contract/scope.ts";
import { inSession, serverCommand } from "./command.ts";
import { databaseChecks } from "./doctor-databases.ts";
import { Failure, Refused } from "./failure.ts";
import type { Session, Surroundings } from "./session.ts";
import { presentRuntimes } from "./up/runtimes.ts";

/** `skipped`: it could not be looked at, since something before it failed. */
export type Check = { group: string; outcome: "ok" | "failed" | "skipped"; text: string };

export function doctorCommand(program: Command, around: Surroundings): void {
  serverCommand(
    program,
    "doctor",
    "check configuration, server, token, hosts, keepers, the gateway, and what this machine can run",
    ["lamplighter doctor"],
  ).action(inSession(around, doctor));
}

async function doctor(session: Session): Promise<void> {
  const checks = [...(await serverChecks(session)), ...(await machineChecks())];
  const { color } = session.terminal;
  const mark = { ok: color.green("[+]"), failed: color.red("[-]"), skipped: color.dim("[ ]") };
  session.show(JSON.stringify(checks), (all: Check[]) =>
    [...Map.groupBy(all, ({ group }) => group)]
      .map(
        ([group, some]) =>
          `${color.bold(group)}\n${some.map((one) => `  ${mark[one.outcome]} ${one.text}\n`).join("")}`,
      )
      .join("\n"),
  );
  const failed = checks.filter(({ outcome }) => outcome === "failed").length;
  if (failed > 0) throw new Failure(failed === 1 ? "1 check failed" : `${failed} checks failed`);
}

async function serverChecks({ api, target }: Session): Promise<Check[]> {
  const { name, url, from, token } = target;
  const checks: Check[] = [];
  const add = (group: string, outcome: Check["outcome"], text: string) => void checks.push({ group, outcome, text });
  const look = async <T>(group: string, what: string, work: () => Promise<T>): Promise<T | null> => {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      add(group, "failed", `${what}: ${error.message}`);
      return null;
    }
  };
  add("Configuration", "ok", `${name === null ? "no context" : `context ${name}`}, ${url} (from ${from})`);
  add(
    "Configuration",
    token === null ? "failed" : "ok",
    token === null ? "there is no token: `lamplighter login`" : "a token is set",
  );
  const health = await look("Server", url, () => api.get("/healthz", { timeoutMs: 5_000 }));
  if (health === null) return checks;
  add("Server", "ok", `${url} answers`);
  if (token === null) {
    add("Server", "skipped", "token and hosts: there is no token to ask with");
    return checks;
  }
  const who = await look("Server", "token", async () => JSON.parse((await api.get("/whoami")).text) as Principal);
  if (who === null) return checks;
  const reach = who.namespaces.length === 0 ? "all namespaces" : who.namespaces.join(", ");
  add(
    "Server",
    "ok",
    `the token is good: ${who.session ? "a session" : who.name}, ${who.scopes.length === 1 ? who.scopes[0] : `${who.scopes.length} scopes`}, ${reach}`,
  );
  for (const check of await hostChecks(() => api.get("/hosts", { query: { limit: 1000 } }))) checks.push(check);
  checks.push(...(await databaseChecks(api)));
  return checks;
}

async function hostChecks(read: () => Promise<{ text: string }>): Promise<Check[]> {
  const group = "Hosts";
  try {
    const hosts = (JSON.parse((await read()).text) as HostView[]).filter(({ status }) => status !== "removed");
    if (hosts.length === 0)
      return [{ group, outcome: "failed", text: "no host has joined: `lamplighter host join-token`" }];
    return hosts.map(({ name, status, scheduling, message, runtimes }) => ({
      group,
      outcome: status === "ready" ? "ok" : "failed",
      text: `${name} is ${status}${scheduling === "open" ? "" : `, ${scheduling}`}${status === "ready" ? `: ${runtimes.map(({ runtime }) => runtime).join(", ")}` : `: ${message}`}`,
    }));
  } catch (error) {
    if (error instanceof Refused && error.problem.status === 403)
      return [{ group, outcome: "skipped", text: "the token may not read hosts" }];
    if (error instanceof Failure) return [{ group, outcome: "failed", text: error.message }];
    throw error;
  }
}

/** What is missing here is no fault: only a host needs a runtime. */
async function machineChecks(): Promise<Check[]> {
  const present = await presentRuntimes();
  const group = "This machine";
  return (["process", "docker", "podman"] as const).map((runtime) =>
    present.includes(runtime)
      ? { group, outcome: "ok", text: runtime }
      : { group, outcome: "skipped", text: `${runtime}: no engine answers on its usual socket` },
  );
}
