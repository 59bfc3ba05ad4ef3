import { EXIT, Failure, Refused } from "../failure.ts";
import type { DeclaredNamespace } from "../manifest/configs.ts";
import type { Session } from "../session.ts";

/** Makes a manifest file's namespace, unless it is there. Answers the body, and whether anything had to be done. */
export async function applyNamespace(
  session: Session,
  { name }: DeclaredNamespace,
  dryRun: boolean,
): Promise<{ text: string; changed: boolean }> {
  const say = (text: string) => {
    if (session.format === "table") session.terminal.out(`namespace ${name} ${text}\n`);
  };
  try {
    if (dryRun) {
      const isThere = await exists(session, name);
      say(isThere ? "would stay as it is" : "would be created");
      return {
        text: JSON.stringify({ dry_run: true, kind: "namespace", name, action: isThere ? "unchanged" : "create" }),
        changed: !isThere,
      };
    }
    const { text } = await session.api.post("/namespaces", { body: { name } });
    say("created");
    return { text, changed: true };
  } catch (error) {
    if (error instanceof Refused && error.problem.code === "name_taken") {
      say("is there already");
      return { text: (await session.api.get(`/namespaces/${name}`)).text, changed: false };
    }
    throw error instanceof Failure && error.exit !== EXIT.interrupted
      ? error.during(`cannot create namespace '${name}'`)
      : error;
  }
}

async function exists(session: Session, name: string): Promise<boolean> {
  try {
    await session.api.get(`/namespaces/${name}`);
    return true;
  } catch (error) {
    if (error instanceof Refused && error.problem.status === 404) return false;
    throw error;
  }
}
