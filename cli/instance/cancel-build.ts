import type { Command } from "commander";
import { BuildList } from "../../contract/build.ts";
import type { InstanceView } from "../../contract/instance.ts";
import { inSession, serverCommand } from "../command.ts";
import { EXIT, Failure } from "../failure.ts";
import { instanceId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

export function cancelBuildCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "cancel-build <instance> [build]", "end the build that is queued or under way", [
    "lamplighter instance cancel-build shop-read",
    "lamplighter instance cancel-build shop-read bld_01k9j5w0n3x7m2c4v8b6z1q5rt",
  ]).action(inSession(around, cancelBuild));
}

async function cancelBuild(session: Session, _options: SessionOptions, instance: string, id?: string): Promise<void> {
  const path = `/instances/${await instanceId(session.api, instance)}/builds`;
  const build = id ?? BuildList.parse(JSON.parse((await session.api.get(path)).text)).active_build_id;
  if (build === null) throw new Failure(`no build of ${instance} is queued or under way`, { exit: EXIT.conflict });
  const { text } = await session.api.post(`${path}/${build}/cancel`, {});
  session.show(text, ({ status, message }: InstanceView) => `${instance}: ${status}: ${message}\n`);
}
