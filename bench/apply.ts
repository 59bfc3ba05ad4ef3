import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { PROJECT } from "../cli/up/bundle.ts";
import { distribution } from "./distribution.ts";
import { atMost, type Figure, type Line, type Setting } from "./figure.ts";
import { startHello } from "./hello.ts";
import { httpText, load } from "./load.ts";
import { NAMESPACE, simulatedManifest, untilCounted } from "./population.ts";
import { SimulatedAgent } from "./simulated-agent.ts";
import { Site } from "./site.ts";

const MOST_S = 10;
const SCRIPT = "echo up; exec sleep 1000";

export const apply: Figure = {
  name: "apply",
  about: "`lamplighter apply` of one file with many deployments, all on one host",
  measure: async (setting) => [...(await onSimulatedHost(setting)), ...(await onThisMachine(setting))],
};

/** What the command line and the control plane take: the host accepts and runs everything at once. */
async function onSimulatedHost({ quick, say, after }: Setting): Promise<Line[]> {
  const site = await Site.start(after);
  await SimulatedAgent.start(site, after);
  const hello = await startHello(site.folder, after);
  const count = quick ? 50 : 500;
  const answered: number[] = [];
  const running: number[] = [];
  const again: number[] = [];
  const bare: number[] = [];
  for (let round = 0; round < (quick ? 1 : 3); round++) {
    const wave = `apply-${round}`;
    const file = fileOf(
      site,
      wave,
      Array.from({ length: count }, (_, i) => simulatedManifest(`${wave}-${i}`, wave)),
    );
    const from = performance.now();
    await applied(site, file);
    answered.push(since(from));
    await untilCounted(site, wave, "running", count);
    running.push(since(from));
    const before = performance.now();
    await applied(site, file);
    again.push(since(before));
    // As many requests as the file has deployments, one after the other.
    const requests = [httpText("GET", "/", hello, "none")];
    bare.push((await load({ port: hello, connections: 1, ms: 60_000, most: count, requests })).ms / 1000);
  }
  say(`${count} deployments in a file, ${answered.length} rounds`);
  const goal = quick ? {} : { goal: atMost(MOST_S, "s", distribution(running).p50) };
  const what = `apply of ${count}`;
  const requests = { what: `${count} Hono hellos, one by one`, ...distribution(bare) };
  const line = (title: string, times: number[]): Line => {
    const ours = distribution(times);
    return { what: title, unit: "s", ours, bare: requests, ratio: ours.p50 / requests.p50 };
  };
  return [
    line(`${what}: until it is answered`, answered),
    { ...line(`${what}: until all are running`, running), ...goal },
    line(`${what}, unchanged`, again),
  ];
}

/** With real processes under a real agent, over spawning them. */
async function onThisMachine({ quick, say, after }: Setting): Promise<Line[]> {
  const site = await Site.start(after);
  await site.startAgent(["process"], after);
  const count = quick ? 5 : 50;
  const wave = "real";
  const manifests = Array.from({ length: count }, (_, i) => ({
    ...simulatedManifest(`${wave}-${i}`, wave),
    command: ["/bin/sh", "-c", SCRIPT],
    stop_timeout: "1s",
  }));
  const file = fileOf(site, wave, manifests);
  const from = performance.now();
  await applied(site, file, "--wait");
  const ours = distribution([since(from)]);
  await untilCounted(site, wave, "running", count);
  for (const { id } of await site.client.json<{ id: string }[]>(
    "GET",
    `/deployments?namespace=${NAMESPACE}&limit=1000`,
  ))
    await site.client.send("DELETE", `/deployments/${id}`);
  const begun = performance.now();
  const children = await Promise.all(Array.from({ length: count }, spawned));
  const bare = { what: "as many spawns until their first output", ...distribution([since(begun)]) };
  for (const end of children) end();
  while ((await site.client.json<unknown[]>("GET", `/deployments?namespace=${NAMESPACE}`)).length > 0);
  say(`${count} real processes`);
  return [{ what: `apply of ${count} processes --wait`, unit: "s", ours, bare, ratio: ours.p50 / bare.p50 }];
}

const since = (from: number): number => (performance.now() - from) / 1000;

function fileOf(site: Site, name: string, deployments: unknown[]): string {
  const file = join(site.folder, `${name}.json`);
  writeFileSync(file, JSON.stringify({ deployments }));
  return file;
}

/** Runs the command as a user does, start of the program included. */
function applied(site: Site, file: string, ...more: string[]): Promise<void> {
  const { url, token } = site.client;
  const args = [join(PROJECT, "cli", "main.ts"), "apply", "-f", file, ...more];
  const env = { ...process.env, LAMPLIGHTER_URL: url, LAMPLIGHTER_TOKEN: token };
  return new Promise((done, fail) => {
    let said = "";
    const child = spawn(process.execPath, args, { env, stdio: ["ignore", "ignore", "pipe"] });
    child.stderr.on("data", (text) => {
      said += text;
    });
    child.on("error", fail);
    child.on("exit", (code) => (code === 0 ? done() : fail(new Error(`apply ended with ${code}: ${said}`))));
  });
}

function spawned(): Promise<() => void> {
  return new Promise((done, fail) => {
    const child = spawn("/bin/sh", ["-c", SCRIPT], { stdio: ["ignore", "pipe", "ignore"] });
    child.on("error", fail);
    child.stdout.once("data", () => done(() => child.kill("SIGKILL")));
  });
}
