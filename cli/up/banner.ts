import { isAbsolute, join, relative } from "node:path";
import type { HostView } from "../../contract/host.ts";
import { sheet } from "../sheet.ts";
import type { Terminal } from "../terminal.ts";
import { PROJECT } from "./bundle.ts";

export type BannerFacts = {
  url: string;
  token: string;
  tokenFile: string;
  dataDir: string;
  host: HostView | null;
  /** Where databases are connected to; null without. */
  gateway: string | null;
  /** What the CLI needs to be told to use this server: "" nothing, null everything. */
  context: string | null;
  tookMs: number;
};

/** What a person needs who has just started it: each line can be pasted as it is. */
export function banner(facts: BannerFacts, { color }: Terminal): string {
  const { url, token, host, context } = facts;
  const command = commandName(PROJECT, process.cwd());
  const connection = context ?? ` --url ${url} --token ${token}`;
  const runtimes = host?.runtimes
    // Whoever runs instances has it; nothing is given to it by name.
    .filter(({ runtime }) => runtime !== "proxy")
    .map(({ runtime, version }) => `${runtime}${runtime === "process" ? "" : ` ${version}`}`)
    .join(", ");
  const rows = sheet(color, null, [
    ["API", color.cyan(url)],
    ["Docs", color.cyan(`${url}/docs`)],
    ["Token", `${token}  ${color.dim(`(kept in ${facts.tokenFile})`)}`],
    ["State", facts.dataDir],
    [
      "Agent",
      host === null ? "none: `lamplighter host join-token` shows how to join one" : `${host.name}, with ${runtimes}`,
    ],
    [
      "Databases",
      facts.gateway === null
        ? ""
        : `${color.cyan(facts.gateway)}, made with \`${command} database create NAME${connection}\``,
    ],
    ["Try", `curl -s -H 'Authorization: Bearer ${token}' ${url}/deployments`],
    ["", `${command} deployment list${connection}`],
    ["Stop", "Ctrl-C; workloads go on running"],
  ]);
  const head = `${color.bold("Lamplighter is up")} ${color.dim(`after ${(facts.tookMs / 1000).toFixed(1)} s`)}`;
  return `\n${head}\n\n${rows.replaceAll(/^/gm, "  ").trimEnd()}\n\n`;
}

/** How a person calls this CLI from the folder that they are in. */
function commandName(project: string, cwd: string): string {
  const path = join(project, "bin", "lamplighter");
  const short = relative(cwd, path);
  if (short.startsWith("..") || isAbsolute(short)) return path;
  return short.includes("/") ? short : `./${short}`;
}
