import { type Command, Option } from "commander";
import type { InstanceView } from "../../contract/instance.ts";
import { INSTANCE_SIZES } from "../../contract/instance-size.ts";
import { inSession, serverCommand } from "../command.ts";
import { each } from "../each.ts";
import { Failure, Interrupted } from "../failure.ts";
import { instanceId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { type WaitOptions, waited, waitOptions } from "./settle.ts";

type Options = SessionOptions & WaitOptions;

const VERBS = {
  provision: "test the source, compile an engine for its schema, and run it",
  rebuild: "compile anew from the schema as it is now; the engine that serves goes on until the new one has loaded",
  reconfigure: "roll the present build out with the settings as they are stored",
  pause: "scale to zero",
  resume: "start the deployed build again",
  terminate: "leave nothing to run and no build; not to be undone",
  reload: "load the whole snapshot anew",
  "pause-replication": "answer from the snapshot as it is",
  "resume-replication": "catch up with the source again",
} as const;
type Verb = keyof typeof VERBS | "resize" | "redeploy" | "cancel-goal";

export function instanceActionCommands(group: Command, around: Surroundings): void {
  for (const [verb, description] of Object.entries(VERBS) as [keyof typeof VERBS, string][]) {
    waitOptions(
      serverCommand(group, `${verb} <instance...>`, description, [`lamplighter instance ${verb} shop-read`]),
    ).action(
      inSession(around, (session, options: Options, instances: string[]) => act(session, verb, instances, options, {})),
    );
  }
  waitOptions(
    serverCommand(
      group,
      "resize <instance>",
      "give it another size; while it deploys, start the rollout anew with it",
      ["lamplighter instance resize shop-read --size medium"],
    ),
  )
    .addOption(new Option("-s, --size <size>", "the new size").choices(INSTANCE_SIZES).makeOptionMandatory())
    .action(
      inSession(around, (session, options: Options & { size: string }, instance: string) =>
        act(session, "resize", [instance], options, { size: options.size }),
      ),
    );
  waitOptions(
    serverCommand(group, "redeploy <instance>", "roll an earlier build out again", [
      "lamplighter instance redeploy shop-read --build bld_01k9j5w0n3x7m2c4v8b6z1q5rt",
    ]),
  )
    .requiredOption("-b, --build <id>", "which build (see `lamplighter instance builds`)")
    .action(
      inSession(around, (session, options: Options & { build: string }, instance: string) =>
        act(session, "redeploy", [instance], options, { build_id: options.build }),
      ),
    );
  serverCommand(group, "cancel-goal <instance...>", "withdraw the queued action; what is under way goes on", [
    "lamplighter instance cancel-goal shop-read",
  ]).action(
    inSession(around, (session, options: SessionOptions, instances: string[]) =>
      act(session, "cancel-goal", instances, { ...options, timeout: 0 }, {}),
    ),
  );
}

async function act(
  session: Session,
  verb: Verb,
  instances: readonly string[],
  options: Options,
  body: Record<string, unknown>,
): Promise<void> {
  await each(session.terminal, instances, async (instance) => {
    const id = await instanceId(session.api, instance);
    try {
      const sent = Object.keys(body).length > 0 ? { body } : {};
      const { text } = await session.api.post(`/instances/${id}/${verb}`, sent);
      const last = options.wait ? await waited(session, text, options.timeout) : text;
      session.show(last, (view: InstanceView) => `${instance}: ${outcome(verb, view)}\n`);
    } catch (error) {
      throw error instanceof Failure && !(error instanceof Interrupted)
        ? error.during(`cannot ${verb} instance '${instance}'`)
        : error;
    }
  });
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

/** What came of an action. A queued one is called as the source's dashboard calls it: "Pause after building". */
export function outcome(verb: Verb, view: InstanceView): string {
  if (verb === "cancel-goal") return `nothing is queued any more; it is ${view.status}: ${view.message}`;
  if (view.goal?.action === verb) return `${capital(verb)} after ${view.status}`;
  if (verb === "resize") return `${view.status}, size ${view.settings.size}: ${view.message}`;
  return `${view.status}: ${view.message}`;
}
