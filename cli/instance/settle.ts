import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import type { InstanceView } from "../../contract/instance.ts";
import { isStable } from "../../contract/instance-status.ts";
import { timeoutOption } from "../command.ts";
import { Failure } from "../failure.ts";
import type { Session } from "../session.ts";

export type WaitOptions = { wait?: boolean; timeout: number };

export const waitOptions = (command: Command): Command =>
  command.option("-w, --wait", "until a stable status is reached").addOption(timeoutOption("10m"));

const LOOK_EVERY_MS = 500;

/** Waits until the instance rests, with nothing queued. Fails when what was asked for has failed. Answers its last body. */
export async function waited(session: Session, first: string, timeoutMs: number): Promise<string> {
  const progress = session.progress();
  const deadline = session.around.now() + timeoutMs;
  let text = first;
  let view = JSON.parse(text) as InstanceView;
  const operation = view.operation?.id;
  try {
    while (!isStable(view.status)) {
      progress.update(`${view.name} ${view.status}: ${view.message}`);
      if (session.around.now() > deadline)
        throw new Failure(`${view.name} is still ${view.status} after ${Math.round(timeoutMs / 1000)} s`, {
          hint: `It goes on; \`lamplighter instance inspect ${view.name}\` shows how far it is.`,
        });
      await sleep(LOOK_EVERY_MS, undefined, { signal: session.interrupted }).catch(() => undefined);
      text = (await session.api.get(`/instances/${view.id}`)).text;
      view = JSON.parse(text) as InstanceView;
    }
  } finally {
    progress.clear();
  }
  const { last_operation } = view;
  const isIt = operation !== undefined && last_operation?.id === operation;
  if (view.status === "failed" || (isIt && last_operation.outcome === "failed"))
    throw new Failure(`${view.name} is ${view.status}: ${last_operation?.message ?? view.message}`, {
      hint: `\`lamplighter instance events ${view.name}\` says more.`,
    });
  return text;
}
