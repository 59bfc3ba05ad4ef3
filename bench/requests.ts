import { distribution } from "./distribution.ts";
import { atLeast, atMost, type Figure, type Line } from "./figure.ts";
import { startHello } from "./hello.ts";
import { httpText, type Loaded, load } from "./load.ts";
import { NAMESPACE, type Population, simulatedManifest, tenThousand } from "./population.ts";

const CONNECTIONS = 16;
/** So many deployments are read again and again: they are in memory. */
const WARM = 100;
const ENDLESS = 1e6;

type Kind = {
  what: string;
  requests: (round: number) => string[];
  connections?: number;
  /** How many in a round, where each can be sent only once. */
  most?: number;
  atLeastPerSecond?: number;
  /** At the 99th percentile. */
  atMostMs?: number;
};

export const requests: Figure = {
  name: "requests",
  about: "requests per second over a bare Hono app on the same workerd",
  measure: async (setting) => {
    const { quick, say, after } = setting;
    const population = await tenThousand(setting);
    const { site, ids } = population;
    const port = Number(new URL(site.client.url).port);
    const hello = await startHello(site.folder, after);
    const ms = quick ? 200 : 2000;
    const rounds = kindsOf(population, port, quick ? 20 : 400).map((kind) => ({
      kind,
      ours: [] as Loaded[],
      bare: [] as Loaded[],
    }));
    for (let round = 0; round < (quick ? 1 : 5); round++) {
      for (const { kind, ours, bare } of rounds) {
        const { connections = CONNECTIONS, most = ENDLESS } = kind;
        bare.push(
          await load({ port: hello, connections, ms, most: ENDLESS, requests: [httpText("GET", "/", hello, "none")] }),
        );
        const loaded = await load({
          port,
          connections,
          ms: most === ENDLESS ? ms : 5 * ms,
          most,
          requests: kind.requests(round),
        });
        const { refused, latencies } = loaded;
        if (refused > 0) throw new Error(`${kind.what}: ${refused} of ${latencies.length} answers were refusals`);
        ours.push(loaded);
      }
    }
    say(
      `${ids.length} deployments; ${CONNECTIONS} connections where nothing else is said; a rate's n counts rounds, its p99 is the slowest`,
    );
    return rounds.flatMap(({ kind, ours, bare }) => linesOf(kind, ours, bare));
  },
};

function kindsOf({ site, ids }: Population, port: number, perRound: number): Kind[] {
  const { token } = site.client;
  const get = (path: string) => httpText("GET", path, port, token);
  const cold = [...ids].reverse();
  const page = [get(`/deployments?limit=100&namespace=${NAMESPACE}`)];
  return [
    { what: "/healthz", requests: () => [get("/healthz")] },
    {
      what: `read, of ${WARM} in memory`,
      atLeastPerSecond: 4000,
      requests: () => ids.slice(0, WARM).map((id) => get(`/deployments/${id}`)),
    },
    {
      what: "read, not in memory",
      most: perRound,
      requests: (round) => cold.slice(round * perRound, (round + 1) * perRound).map((id) => get(`/deployments/${id}`)),
    },
    { what: "list 100 of all namespaces", requests: () => [get("/deployments?limit=100")] },
    { what: "list 100 of one namespace", requests: () => page },
    { what: "list 100 of one namespace, 1 connection", connections: 1, atMostMs: 20, requests: () => page },
    {
      what: "create",
      most: perRound,
      atLeastPerSecond: 250,
      requests: (round) =>
        Array.from({ length: perRound }, (_, i) =>
          httpText("POST", "/deployments", port, token, simulatedManifest(`r-${round}-${i}`, "r")),
        ),
    },
  ];
}

/** The slow end of rates is the low one. */
function rateOf(loads: readonly Loaded[]) {
  const { n, p50, p99 } = distribution(loads.map(({ latencies, ms }) => (-latencies.length / ms) * 1000));
  return { n, p50: -p50, p99: -p99 };
}

function linesOf({ what, atLeastPerSecond, atMostMs }: Kind, ours: readonly Loaded[], bare: readonly Loaded[]): Line[] {
  const rate = rateOf(ours);
  const hello = { what: "Hono hello", ...rateOf(bare) };
  const latency = distribution(ours.flatMap(({ latencies }) => latencies));
  const rateGoal = atLeastPerSecond === undefined ? {} : { goal: atLeast(atLeastPerSecond, "req/s", rate.p50) };
  const latencyGoal = atMostMs === undefined ? {} : { goal: atMost(atMostMs, "ms p99", latency.p99) };
  return [
    { what, unit: "req/s", ours: rate, bare: hello, ratio: rate.p50 / hello.p50, ...rateGoal },
    { what: `${what}: latency`, unit: "ms", ours: latency, ...latencyGoal },
  ];
}
