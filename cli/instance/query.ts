import type { Command } from "commander";
import { FRESHNESS_HEADERS } from "../../contract/engine-query.ts";
import type { InstanceView } from "../../contract/instance.ts";
import { inSession, serverCommand } from "../command.ts";
import { EXIT, Failure } from "../failure.ts";
import { instanceId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

type Options = SessionOptions & { key?: string; maxStaleness?: string; minPosition?: string };

/** Longer than one that is woken is waited for where it is asked. */
const PATIENCE_MS = 45_000;

export function instanceQueryCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "query <instance> [query]", "ask an instance; without a query it is read from standard input", [
    "lamplighter instance query shop-read 'users(plan = \"pro\") { id name posts { title } }' --key rxk_…",
    "lamplighter instance query shop-read --max-staleness 1000 < report.rdb",
  ])
    .option("--key <key>", "a key of the instance ($LAMPLIGHTER_INSTANCE_KEY)")
    .option("--max-staleness <ms>", "an older answer is an error")
    .option("--min-position <position>", "an answer from before this position of the source is an error")
    .action(inSession(around, query));
}

/** Goes to the instance's endpoint; the control plane only says where that is. */
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
  if (!answer.ok) throw refusal(instance, answer);
  // As it came, so that nothing is rounded; a form for persons it has not.
  if (!session.showRaw(answer.text)) terminal.out(answer.text.endsWith("\n") ? answer.text : `${answer.text}\n`);
  const notes = notesOf(answer.headers, terminal.width !== null);
  if (notes !== "") terminal.err(`${notes}\n`);
}

/** What there is to know beside the rows: that they are not all, and how old they are, to a person or where it is unlike usual. */
function notesOf(headers: Headers, isForPerson: boolean): string {
  const { more, cursor, age, position, replication } = FRESHNESS_HEADERS;
  const next = headers.get(cursor);
  const after = next === null ? "say a higher limit, or an offset" : `go on with after: ${JSON.stringify(next)}`;
  const state = headers.get(replication);
  const follows = state === null || state === "live" || state === "polling";
  const old = headers.get(age);
  const at = headers.get(position);
  const fresh = [
    old === null ? "" : `${Number(old) / 1000} s old`,
    at === null ? "" : `as of ${at}`,
    follows ? "" : `replication: ${state}`,
  ].filter((part) => part !== "");
  return [
    ...(headers.get(more) === "true" ? [`There is more: ${after}`] : []),
    ...((isForPerson || !follows) && fresh.length > 0 ? [fresh.join(", ")] : []),
  ].join("\n");
}

type Answer = { ok: boolean; status: number; text: string; headers: Headers };

async function ask(url: string, body: string, headers: Record<string, string>): Promise<Answer> {
  try {
    const response = await fetch(url, { method: "POST", body, headers, signal: AbortSignal.timeout(PATIENCE_MS) });
    return { ok: response.ok, status: response.status, text: await response.text(), headers: response.headers };
  } catch (error) {
    const { cause, message } = error as Error;
    const why = cause instanceof Error ? cause.message : message;
    throw new Failure(`cannot reach the engine at ${url}: ${why}`, { exit: EXIT.unreachable });
  }
}

/** The engine says line, column and the nearest names. */
function refusal(instance: string, { status, text, headers }: Answer): Failure {
  const retryAfter = headers.get("retry-after");
  const exit = status === 401 || status === 403 ? EXIT.auth : EXIT.other;
  try {
    const { code, detail, line, column, nearest } = JSON.parse(text) as Record<string, unknown>;
    const where = line === undefined ? "" : ` (line ${line}, column ${column})`;
    const again = retryAfter === null ? null : `Ask again in ${retryAfter} s.`;
    const hint = Array.isArray(nearest) && nearest.length > 0 ? `Nearest: ${nearest.join(", ")}.` : again;
    return new Failure(`${code}${where}: ${detail}`, { exit, ...(hint === null ? {} : { hint }) });
  } catch {
    return new Failure(`${instance} answered ${status}`, { exit });
  }
}
