import { setTimeout as sleep } from "node:timers/promises";
import { distribution } from "./distribution.ts";
import { atMost, type Figure, type Line } from "./figure.ts";
import { createMany, type Population, tenThousand, untilCounted } from "./population.ts";

const ANSWERS_WITHIN_S = 5;

export const restart: Figure = {
  name: "restart",
  about: "kill -9 of the control plane and a new start, with ten thousand deployments",
  measure: async (setting) => {
    const { quick, say } = setting;
    const population = await tenThousand(setting);
    const resting: Answered[] = [];
    for (let round = 0; round < (quick ? 1 : 5); round++) {
      resting.push(await killAndStart(population, 0));
      await sleep(quick ? 0 : 2000);
    }
    // In a passing status each deployment has an alarm; all of them ring while the control plane is down.
    const passing = quick ? 50 : 1000;
    population.agent.hold();
    const wave = `held-${Date.now()}`;
    await createMany(population.site, wave, passing);
    await untilCounted(population.site, wave, "creating", passing);
    const downMs = quick ? 1000 : 65_000;
    say(`kill with ${passing} in creating; down for ${downMs / 1000} s, until all their deadlines are over`);
    const herd = await killAndStart(population, downMs);
    const from = performance.now();
    population.agent.release();
    await untilCounted(population.site, wave, "running", passing, 20);
    const all = (performance.now() - from) / 1000;
    return [
      ...linesOf(`${population.ids.length} at rest`, resting),
      ...linesOf(`${passing} more overdue`, [herd]),
      { what: `${passing} more overdue: all running, once their host says so`, unit: "s", ours: distribution([all]) },
    ];
  },
};

type Answered = { health: number; read: number; list: number; host: number };

/** Kills it, starts it again, and asks four things at once, again and again, each until it is answered: s since the start. */
async function killAndStart({ site, agent, ids }: Population, downMs: number): Promise<Answered> {
  // What is stored of the host still says "ready"; only an event after this one tells that its agent has come back.
  const { event_cursor } = await agent.host(site);
  await site.killControlPlane();
  await sleep(downMs);
  const from = performance.now();
  const until = async (holds: () => Promise<boolean>): Promise<number> => {
    while (!(await holds().catch(() => false))) await sleep(5);
    return (performance.now() - from) / 1000;
  };
  const answers = (path: string) => until(async () => (await site.client.send("GET", path)).status === 200);
  const isBack = async () => {
    const host = await agent.host(site);
    return host.status === "ready" && host.event_cursor > event_cursor;
  };
  const [, health, read, list, host] = await Promise.all([
    site.startControlPlane(),
    answers("/healthz"),
    answers(`/deployments/${ids[Math.floor(ids.length / 2)]}`),
    answers("/deployments?limit=100"),
    until(isBack),
  ]);
  return { health, read, list, host };
}

function linesOf(state: string, times: readonly Answered[]): Line[] {
  const line = (what: string, key: keyof Answered, goal: boolean): Line => {
    const ours = distribution(times.map((each) => each[key]));
    return {
      what: `${state}: ${what}`,
      unit: "s",
      ours,
      ...(goal ? { goal: atMost(ANSWERS_WITHIN_S, "s, each time", ours.p99) } : {}),
    };
  };
  return [
    line("/healthz answers", "health", true),
    line("a deployment answers", "read", true),
    line("the list answers", "list", true),
    line("its host is ready again", "host", false),
  ];
}
