import type { Command } from "commander";
import type { InstanceView } from "../../contract/instance.ts";
import { inSession, serverCommand } from "../command.ts";
import { EXIT, Failure } from "../failure.ts";
import { instanceId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

type Options = SessionOptions & { key?: string; maxStaleness?: string; minPosition?: string };

const PATIENCE_MS = 30_000;

export function instanceQueryCommand(group: Command, around: Surroundings): void {
  serverCommand(
    group,
    "query <instance> [query]",
    "ask the engine itself; without a query it is read from standard input",
    [
      "lamplighter instance query shop-read 'users(plan = \"pro\") { id name posts { title } }' --key rxk_…",
      "lamplighter instance query shop-read --max-staleness 1000 < report.rdb",
    ],
  )
    .option("--key <key>", "a key of the instance ($LAMPLIGHTER_INSTANCE_KEY)")
    .option("--max-staleness <ms>", "an older answer is an error")
    .option("--min-position <position>", "an answer from before this position of the source is an error")
    .action(inSession(around, query));
}

/** Goes to the engine, not to the control plane: that only says where the engine is. */
async function query(session: Session, options: Options, instance: string, text?: string): Promise<void> {
  const { around, terminal } = session;
  const key = options.key ?? around.env.LAMPLIGHTER_INSTANCE_KEY;
  if (key === undefined || key === "")
    throw new Failure("a key is needed", {
      exit: EXIT.auth,
      hint: `\`lamplighter instance keys create ${instance} NAME\` makes one; give it as --key or in $LAMPLIGHTER_INSTANCE_KEY.`,
    });
  const asked = text ?? (await around.readStdin());
  const { text: body } = await session.api.get(`/instances/${await instanceId(session.api, instance)}`);
  const { status, message, endpoint_url } = JSON.parse(body) as InstanceView;
  if (endpoint_url === null) throw new Failure(`${instance} is ${status}: ${message}`);
  const answer = await ask(`${endpoint_url}/query`, asked, {
    authorization: `Bearer ${key}`,
    ...(options.maxStaleness === undefined ? {} : { "max-staleness": options.maxStaleness }),
    ...(options.minPosition === undefined ? {} : { "min-position": options.minPosition }),
  });
  if (!answer.ok) throw refusal(instance, answer.status, answer.text);
  terminal.out(answer.text.endsWith("\n") ? answer.text : `${answer.text}\n`);
}

async function ask(
  url: string,
  body: string,
  headers: Record<string, string>,
): Promise<{ ok: boolean; status: number; text: string }> {
  try {
    const response = await fetch(url, { method: "POST", body, headers, signal: AbortSignal.timeout(PATIENCE_MS) });
    return { ok: response.ok, status: response.status, text: await response.text() };
  } catch (error) {
    const { cause, message } = error as Error;
    const why = cause instanceof Error ? cause.message : message;
    throw new Failure(`cannot reach the engine at ${url}: ${why}`, { exit: EXIT.unreachable });
  }
}

/** The engine says line, column and the nearest names. */
function refusal(instance: string, status: number, text: string): Failure {
  const exit = status === 401 || status === 403 ? EXIT.auth : EXIT.other;
  try {
    const { code, detail, line, column, nearest } = JSON.parse(text) as Record<string, unknown>;
    const where = line === undefined ? "" : ` (line ${line}, column ${column})`;
    const names = Array.isArray(nearest) && nearest.length > 0 ? { hint: `Nearest: ${nearest.join(", ")}.` } : {};
    return new Failure(`${code}${where}: ${detail}`, { exit, ...names });
  } catch {
    return new Failure(`${instance} answered ${status}`, { exit });
  }
}
