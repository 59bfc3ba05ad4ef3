import { distribution } from "./distribution.ts";
import { atLeast, atMost, type Figure, type Line } from "./figure.ts";
import { startHello } from "./hello.ts";
import { httpText, type Loaded, load } from "./load.ts";
import { NAMESPACE, simulatedManifest, tenThousand } from "./population.ts";

const CONNECTIONS = 16;
/** So many deployments are read again and again: they are in memory. */
const WARM = 100;

type Kind = { what: string; requests: (round: number) => string[]; most?: number; goal?: number };

export const requests: Figure = {
  name: "requests",
  about: "requests per second over a bare Hono app on the same workerd",
  measure: async (setting) => {
    const { quick, say, after } = setting;
    const { site, ids } = await tenThousand(setting);
    const { token, url } = site.client;
    const port = Number(new URL(url).port);
    const hello = await startHello(site.folder, after);
    const get = (path: string) => httpText("GET", path, port, token);
    const perRound = quick ? 20 : 400;
    const cold = [...ids].reverse();

    const kinds: Kind[] = [
      { what: "/healthz", requests: () => [get("/healthz")] },
      {
        what: `read, of ${WARM} in memory`,
        goal: 4000,
        requests: () => ids.slice(0, WARM).map((id) => get(`/deployments/${id}`)),
      },
      {
        what: "read, not in memory",
        most: perRound,
        requests: (round) =>
          cold.slice(round * perRound, (round + 1) * perRound).map((id) => get(`/deployments/${id}`)),
      },
      { what: "list 100, all namespaces", requests: () => [get("/deployments?limit=100")] },
      { what: "list 100, one namespace", requests: () => [get(`/deployments?limit=100&namespace=${NAMESPACE}`)] },
      {
        what: "create, with all that follows",
        most: perRound,
        goal: 250,
        requests: (round) =>
          Array.from({ length: perRound }, (_, i) =>
            httpText("POST", "/deployments", port, token, simulatedManifest(`r-${round}-${i}`)),
          ),
      },
    ];
    const results = new Map<Kind, Loaded[]>(kinds.map((kind) => [kind, []]));
    const bare: Loaded[] = [];
    const ms = quick ? 200 : 2000;
    for (let round = 0; round < (quick ? 1 : 5); round++) {
      for (const kind of kinds) {
        bare.push(
          await load({
            port: hello,
            connections: CONNECTIONS,
            ms: ms / 2,
            most: 1e6,
            requests: [httpText("GET", "/", hello, token)],
          }),
        );
        const loaded = await load({
          port,
          connections: CONNECTIONS,
          ms: ms * (kind.most ? 5 : 1),
          most: kind.most ?? 1e6,
          requests: kind.requests(round),
        });
        if (loaded.refused > 0)
          throw new Error(`${kind.what}: ${loaded.refused} of ${loaded.latencies.length} answers were refusals`);
        results.get(kind)?.push(loaded);
      }
    }
    say(
      `${CONNECTIONS} connections, ${ids.length} deployments; a rate's n counts rounds, its p99 is the slowest round`,
    );
    const rates = bareRates(bare);
    return kinds.flatMap((kind) => linesOf(kind, results.get(kind) ?? [], rates));
  },
};

const perSecond = ({ latencies, ms }: Loaded): number => (latencies.length / ms) * 1000;
const bareRates = (bare: readonly Loaded[]) => ({ what: "Hono hello", ...rateOf(bare) });

/** The slow end of rates is the low one. */
function rateOf(loads: readonly Loaded[]) {
  const { n, p50, p99 } = distribution(loads.map((each) => -perSecond(each)));
  return { n, p50: -p50, p99: -p99 };
}

function linesOf(kind: Kind, loads: readonly Loaded[], bare: ReturnType<typeof bareRates>): Line[] {
  const ours = rateOf(loads);
  const latency = distribution(loads.flatMap(({ latencies }) => latencies));
  const isList = kind.what.startsWith("list");
  return [
    {
      what: kind.what,
      unit: "req/s",
      ours,
      bare,
      ratio: ours.p50 / bare.p50,
      ...(kind.goal === undefined ? {} : { goal: atLeast(kind.goal, "req/s", ours.p50) }),
    },
    {
      what: `${kind.what}: latency`,
      unit: "ms",
      ours: latency,
      ...(isList ? { goal: atMost(20, "ms p99", latency.p99) } : {}),
    },
  ];
}
