import type { Command } from "commander";
import type { DeploymentView } from "../../contract/deployment.ts";
import type { RevisionView } from "../../contract/rollout.ts";
import { ROLLOUT_ACTIONS, type RolloutAction } from "../../contract/rollout-action.ts";
import { age } from "../age.ts";
import { inSession, noun, serverCommand, timeoutOption } from "../command.ts";
import { EXIT, Failure, Refused } from "../failure.ts";
import { deploymentId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { settle } from "../settle.ts";
import { table } from "../table.ts";
import { oneLine } from "../terminal.ts";

type Waiting = SessionOptions & { timeout: number };

const SAYS: Record<RolloutAction, [description: string, done: string]> = {
  pause: ["hold a rolling update where it is", "is paused"],
  resume: ["let a paused rolling update go on", "goes on"],
  undo: ["go back to the old version while a rolling update goes on", "is being undone"],
};

export function rolloutCommands(group: Command, around: Surroundings): void {
  const rollout = noun(group, "rollout", "follow and steer rolling updates");
  serverCommand(rollout, "status <deployment>", "wait until a rolling update is complete; fails when it failed", [
    "lamplighter deployment rollout status web",
    "lamplighter deployment rollout status prod/web --timeout 10m",
  ])
    .addOption(timeoutOption("10m"))
    .action(inSession(around, status));
  serverCommand(
    rollout,
    "history <deployment>",
    "list the manifests that were applied to a name, and what came of each",
    ["lamplighter deployment rollout history web"],
  ).action(inSession(around, history));
  for (const action of ROLLOUT_ACTIONS)
    serverCommand(rollout, `${action} <deployment>`, SAYS[action][0], [
      `lamplighter deployment rollout ${action} web`,
    ]).action(
      inSession(around, async (session: Session, _options: SessionOptions, reference: string) => {
        const id = await deploymentId(session.api, reference);
        const { text } = await session.api.post(`/deployments/${id}/rollout/${action}`);
        session.show(text, () => `rolling update of ${reference} ${SAYS[action][1]}\n`);
      }),
    );
}

async function status(session: Session, options: Waiting, reference: string): Promise<void> {
  const id = await deploymentId(session.api, reference);
  const { text } = await session.api.get(`/deployments/${id}`);
  let last = text;
  const failure = await settle(session, [JSON.parse(text) as DeploymentView], options.timeout, (_index, body) => {
    last = body;
  });
  if (failure !== null) throw (await wentBack(session, JSON.parse(text) as DeploymentView)) ?? failure;
  session.show(last, (view: DeploymentView) => `${reference} is ${view.status}: ${oneLine(view.message)}\n`);
}

/** A version that was rolled back is gone by now; the name's revisions say what came of it. */
async function wentBack(session: Session, { id, name, namespace }: DeploymentView): Promise<Failure | null> {
  try {
    const { text } = await session.api.get("/deployments", { query: { name, namespace } });
    const holder = (JSON.parse(text) as DeploymentView[]).find((row) => row.id !== id && row.status !== "deleted");
    if (holder === undefined) return null;
    const revisions = JSON.parse((await session.api.get(`/deployments/${holder.id}/revisions`)).text) as RevisionView[];
    const own = revisions.find(({ deployment_id }) => deployment_id === id);
    if (own?.outcome !== "rolled_back" && own?.outcome !== "failed") return null;
    return new Failure(`revision ${own.revision} ${own.outcome.replace("_", " ")}: ${oneLine(own.message)}`, {
      exit: EXIT.other,
      hint: `${holder.id} serves; \`lamplighter deployment events ${holder.id}\` says more.`,
    });
  } catch (error) {
    if (error instanceof Refused) return null;
    throw error;
  }
}

async function history(session: Session, _options: SessionOptions, reference: string): Promise<void> {
  const id = await deploymentId(session.api, reference);
  const { text } = await session.api.get(`/deployments/${id}/revisions`);
  const { terminal, around } = session;
  session.show(text, (rows: RevisionView[]) =>
    table<RevisionView>(
      [
        { title: "revision", value: (r) => String(r.revision), align: "right" },
        { title: "deployment", value: (r) => r.deployment_id, weight: 2 },
        { title: "outcome", value: (r) => (r.active ? `${r.outcome}, active` : r.outcome) },
        { title: "cause", value: (r) => r.cause, weight: 3 },
        { title: "by", value: (r) => r.actor, weight: 1 },
        { title: "age", value: (r) => age(r.created_at, around.now()), align: "right" },
        { title: "", value: (r) => oneLine(r.message), weight: 4, shrink: 16 },
      ],
      rows,
      terminal.width,
      terminal.color,
    ),
  );
}
