import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { HostView } from "../../contract/host.ts";
import type { TokenCreated } from "../../contract/token.ts";
import type { Api } from "../api.ts";
import { Refused } from "../failure.ts";

/** A token that lets agents join, for the next few minutes. */
export async function joinTokenOf(api: Api, uses = 1): Promise<string> {
  const { text } = await api.post("/join-tokens", { body: { expires_in: "10m", uses } });
  return (JSON.parse(text) as TokenCreated).token;
}

/**
 * The join token that the agent of this folder needs, if it needs one: at first, and when the control plane's state was thrown away, which
 * then does not know it. In that case it joins as a new host, and stops what it ran as the old one.
 */
export async function joinTokenFor(
  agentDir: string,
  api: Api,
  say: (line: string) => void,
): Promise<string | undefined> {
  const path = join(agentDir, "identity.json");
  const id = joinedAs(path);
  if (id !== null) {
    if (await isKnown(api, id)) return undefined;
    say(`the control plane does not know ${id}, as which the agent joined once: it joins anew`);
    rmSync(path);
  }
  return joinTokenOf(api);
}

function joinedAs(path: string): string | null {
  if (!existsSync(path)) return null;
  const { state, host_id } = JSON.parse(readFileSync(path, "utf8")) as { state?: string; host_id?: string };
  return state === "joined" ? (host_id ?? null) : null;
}

async function isKnown(api: Api, id: string): Promise<boolean> {
  try {
    const { text } = await api.get(`/hosts/${id}`);
    return (JSON.parse(text) as HostView).status !== "removed";
  } catch (error) {
    if (error instanceof Refused && error.problem.status === 404) return false;
    throw error;
  }
}
