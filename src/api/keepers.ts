import { z } from "zod";
import type { HostView } from "../../contract/host.ts";
import { KeepersView } from "../../contract/keepers-view.ts";
import type { KeeperAddress } from "../../contract/writer.ts";
import { type KeeperSettings, keepersOf, keepingOf } from "../../objects/database/keepers.ts";
import { CLUSTER_SHARD } from "../../objects/projection.ts";
import { remote } from "../../objects/remote.ts";
import { jsonText } from "../answer.ts";
import { unwrap } from "../problem.ts";
import { route } from "../route.ts";
import { call } from "../stub.ts";
import { HOST_ANSWERS_IN_MS, within } from "../within.ts";

const Faults = z.array(z.string().nullable());
const UNASKED = "no host that runs PostgreSQL is ready to ask it";

export const KEEPERS = [
  route({
    method: "GET",
    path: "/keepers",
    access: "hosts:read",
    group: "Databases",
    summary: "The keepers, and whether they answer",
    description:
      "Those that `KEEPERS` names, without their tokens. A ready host that runs PostgreSQL asks each of them at this moment, as the start of a database would.",
    answers: {
      200: {
        description: "The keepers",
        schema: KeepersView,
        example: {
          setting_error: null,
          asked_host: "lamp-1",
          keepers: [{ name: "a", url: "https://10.0.0.6:7431", answers: true, message: "it answers" }],
        },
      },
    },
    handle: async (ask) => jsonText(JSON.stringify(await look(ask.env))),
  }),
];

async function look(env: Env): Promise<KeepersView> {
  const known = addresses(env as KeeperSettings);
  if (typeof known === "string") return { setting_error: known, asked_host: null, keepers: [] };
  const host = known.length === 0 ? null : await readyHost(env);
  const faults = host === null ? null : await ask(env, host.id, known);
  const keepers = known.map(({ name, url }, i) => {
    if (faults === null)
      return { name, url, answers: null, message: host === null ? UNASKED : `the host ${host.name} does not answer` };
    return { name, url, answers: faults[i] === null, message: faults[i] ?? "it answers" };
  });
  return { setting_error: null, asked_host: host?.name ?? null, keepers };
}

function addresses(env: KeeperSettings): KeeperAddress[] | string {
  const said = keepingOf(env);
  return said.ok ? keepersOf(env) : said.refusal.detail;
}

async function readyHost(env: Env): Promise<HostView | null> {
  const bodies = await call(
    () => remote(env.INDEX, CLUSTER_SHARD),
    (index) => index.hosts(),
  );
  const hosts = bodies.map((body) => JSON.parse(body) as HostView);
  const runsPostgres = ({ runtimes }: HostView) => runtimes.some(({ runtime }) => runtime === "postgres");
  return hosts.find((host) => host.status === "ready" && runsPostgres(host)) ?? null;
}

async function ask(env: Env, hostId: string, keepers: KeeperAddress[]): Promise<z.infer<typeof Faults> | null> {
  const asked = call(
    () => remote(env.HOST, hostId),
    (host) => host.ask({ verb: "check_keepers", keepers }),
  );
  try {
    return Faults.parse(JSON.parse(unwrap(await within(HOST_ANSWERS_IN_MS, asked))));
  } catch {
    return null;
  }
}
