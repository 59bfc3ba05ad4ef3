import { setTimeout as sleep } from "node:timers/promises";
import { type DeploymentStatus, type DeploymentView, isTerminal } from "../contract/deployment.ts";
import type { JournalEvent } from "../contract/event.ts";
import { replicas } from "./deployment/list.ts";
import { EXIT, Failure, Refused } from "./failure.ts";
import { clock, journal, news } from "./journal.ts";
import type { Progress } from "./progress.ts";
import type { Session } from "./session.ts";
import { paintStatus } from "./status.ts";
import { oneLine } from "./terminal.ts";

/** A status's end of waiting: a worker runs, a job has completed, or nothing will happen any more. */
const isSettled = (view: DeploymentView): boolean =>
  isFine(view) || isTerminal(view.status) || view.status === "deleted";
const isFine = (view: DeploymentView): boolean =>
  view.kind === "job"
    ? view.status === "completed"
    : view.status === "running" && view.rollout === undefined && running(view) === wanted(view);
const wanted = (view: DeploymentView): number => view.desired_replicas ?? view.replicas;
const running = (view: DeploymentView): number => view.instances.filter((one) => one.phase === "running").length;

/**
 * Waits until each deployment is where it should be, or has failed, showing on the way how far they are. Answers a Failure that says
 * which are not, or null. `seen` gets each new body.
 */
export async function settle(
  session: Session,
  views: readonly DeploymentView[],
  timeoutMs: number,
  seen: (index: number, text: string) => void,
): Promise<Failure | null> {
  const { around, terminal } = session;
  around.interrupt.aftermath =
    "What was applied goes on in the background: `lamplighter deployment list` shows how far it is.";
  const progress = session.progress();
  const latest = [...views];
  const deadline = around.now() + timeoutMs;
  const draw = () => {
    const waiting = latest.filter((view) => !isSettled(view));
    const shown = waiting.length > 0 ? waiting : latest;
    if (terminal.live !== null) progress.update(shown.map(summary).join(" · "));
  };
  draw();
  await Promise.all(
    views.map(async (view, index) => {
      for await (const { view: now, text } of watch(session, view, deadline, progress)) {
        latest[index] = now;
        seen(index, text);
        draw();
      }
    }),
  );
  progress.clear();
  const bad = latest.filter((view) => !isFine(view));
  if (bad.length === 0) return null;
  const word = (view: DeploymentView) => `${view.namespace}/${view.name}`;
  const details = [];
  for (const view of bad)
    details.push(`${word(view)} is ${view.status}: ${oneLine(view.message)}`, ...(await warnings(session, view)));
  const late = bad.some((view) => !isSettled(view));
  return new Failure(
    late
      ? `not ready after ${Math.round(timeoutMs / 1000)} s: ${bad.map(word).join(", ")}`
      : `failed: ${bad.map(word).join(", ")}`,
    {
      exit: EXIT.other,
      details,
      hint: `\`lamplighter explain ${bad[0]?.name}\` says more${late ? "; it goes on in the background" : ""}.`,
    },
  );
}

const summary = (view: DeploymentView): string =>
  `${view.name} ${view.status} ${replicas(view)}${view.message === "" ? "" : ` (${view.message})`}`;

/** How often the deployment itself is read although no event has come, ms: the stream may be broken without our knowing. */
const READ_ANYWAY_MS = 2000;
/** A worker that runs is looked at once more after this, ms: most of those that cannot run die at once. */
const STEADY_MS = 400;

async function* watch(
  session: Session,
  first: DeploymentView,
  deadline: number,
  progress: Progress,
): AsyncGenerator<{ view: DeploymentView; text: string }> {
  const { api, around, terminal } = session;
  const stop = new AbortController();
  const signal = AbortSignal.any([stop.signal, session.interrupted]);
  let changed = false;
  let steady = false;
  let wake = () => {};
  const tell = (event: JournalEvent) => {
    const moved = event.new_status !== undefined && event.new_status !== event.old_status;
    if (moved || event.level !== "info") progress.note(line(terminal.errColor, first, event));
    changed = true;
    wake();
  };
  const listening = (async () => {
    for await (const event of journal(session, `/deployments/${first.id}/events`, first.event_cursor, signal))
      tell(event);
  })().catch(() => undefined);
  try {
    for (let view = first; ; ) {
      const steadying: boolean = isFine(view) && view.kind === "worker" && !steady;
      if ((isSettled(view) && !steadying) || around.now() > deadline) return;
      if (!changed)
        await pause(
          Math.min(steadying ? STEADY_MS : READ_ANYWAY_MS, deadline - around.now()),
          (done) => (wake = done),
          signal,
        );
      // Nothing happened to it for a moment.
      steady = steadying && !changed;
      changed = false;
      try {
        const { text } = await api.get(`/deployments/${first.id}`);
        view = JSON.parse(text) as DeploymentView;
        yield { view, text };
      } catch (error) {
        if (!(error instanceof Refused && error.problem.status === 404)) throw error;
        const gone = { ...view, status: "deleted" as DeploymentStatus, message: "somebody deleted it" };
        yield { view: gone, text: JSON.stringify(gone) };
        return;
      }
    }
  } finally {
    stop.abort();
    await listening;
  }
}

async function pause(ms: number, wakeable: (done: () => void) => void, signal: AbortSignal): Promise<void> {
  const early = new AbortController();
  wakeable(() => early.abort());
  await sleep(ms, undefined, { signal: AbortSignal.any([early.signal, signal]) }).catch(() => undefined);
}

function line(
  color: Session["terminal"]["errColor"],
  { namespace, name }: DeploymentView,
  event: JournalEvent,
): string {
  const status = event.new_status ?? event.reason;
  return `${color.dim(clock(event.timestamp).slice(11))} ${namespace}/${name} ${paintStatus(status, status, color)} ${color.dim(news(event))}`;
}

/** The last things that went wrong, which the message of a status alone may not tell. */
async function warnings(session: Session, view: DeploymentView): Promise<string[]> {
  try {
    const { text } = await session.api.get(`/deployments/${view.id}/events`, { query: { limit: 50 } });
    const events = (JSON.parse(text) as JournalEvent[]).filter(
      (event) => event.level !== "info" && event.message !== view.message,
    );
    return [...new Set(events.slice(0, 3).map((event) => `  ${oneLine(event.message)}`))];
  } catch {
    return [];
  }
}
