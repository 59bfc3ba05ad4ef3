import { readdirSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, vi } from "vitest";
import { type Agent, type AgentOptions, runAgent } from "../../agent/main.ts";
import type { AgentBody } from "../../contract/frame.ts";
import { freePort } from "../free-port.ts";
import { ControlPlane } from "./control-plane.ts";
import { folder } from "./workload.ts";

export const cleanups: (() => Promise<unknown>)[] = [];
/** To be called by each file that links agents: keeps their log off the screen, and ends them after each test. */
export function tidyAfterEach(): void {
  beforeEach(() => {
    // The shortest delay that may be drawn, each time.
    vi.spyOn(Math, "random").mockReturnValue(0);
  });
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });
}

type Linked = { plane: ControlPlane; agent: Agent; lines: string[]; dataDir: string; options: AgentOptions };

/** An agent that is linked to a control plane. Its workloads are removed when the test is over. */
export async function linked(
  transport: "tunnel" | "call",
  dataDir = folder(),
  over: Partial<AgentOptions> = {},
): Promise<Linked> {
  const plane = await ControlPlane.start();
  cleanups.push(() => plane.close());
  const lines: string[] = [];
  const options: AgentOptions = {
    url: plane.url,
    dataDir,
    joinToken: plane.joinToken,
    transport,
    runtimes: ["process"],
    log: (line) => lines.push(line),
    ...(transport === "call" ? { listen: { host: "127.0.0.1", port: await freePort() } } : {}),
    ...over,
  };
  const agent = await runAgent(options);
  cleanups.push(async () => {
    plane.refuse = 410;
    plane.cut();
    // Over `call` it learns of it with its next request.
    await plane.say({ kind: "dismiss" }).catch(() => {});
    await agent.stopped;
  });
  await plane.until(() => plane.settled.length > 0, "the agent is settled");
  return { plane, agent, lines, dataDir, options };
}

export const kinds = (plane: ControlPlane): AgentBody["kind"][] => plane.heard.map((frame) => frame.body.kind);
export const none = (dataDir: string): string[] =>
  readdirSync(join(dataDir, "process")).filter((name) => name.startsWith("dep_"));
