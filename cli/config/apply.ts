import type { ConfigView } from "../../contract/config.ts";
import { EXIT, Failure, Refused } from "../failure.ts";
import type { DeclaredConfig } from "../manifest/configs.ts";
import { configId } from "../resolve.ts";
import type { Session } from "../session.ts";

/** Makes a manifest file's config, or puts its data anew when it is another. Answers the body, and whether anything had to be done. */
export async function applyConfig(
  session: Session,
  declared: DeclaredConfig,
  dryRun: boolean,
): Promise<{ text: string; changed: boolean }> {
  const { body } = declared;
  const name = `${body.namespace}/${body.name}`;
  const say = (text: string) => {
    if (session.format === "table") session.terminal.out(`config ${name} ${text}\n`);
  };
  try {
    if (dryRun) {
      const action = await rehearsed(session, declared);
      say(WOULD[action]);
      return {
        text: JSON.stringify({ dry_run: true, kind: "config", namespace: body.namespace, name: body.name, action }),
        changed: action !== "unchanged",
      };
    }
    const made = await create(session, declared);
    if (made !== null) {
      say(`created (${(JSON.parse(made) as ConfigView).id})`);
      return { text: made, changed: true };
    }
    const before = await present(session, name);
    const { id } = before.view;
    if (isSame(before.view, declared)) {
      say(`unchanged (${id})`);
      return { text: before.text, changed: false };
    }
    const { text } = await session.api.put(`/configs/${id}`, {
      body: { name: body.name, data: body.data, labels: body.labels },
      headers: { "if-match": `"r${before.view.revision}"` },
    });
    say(`updated (${id})`);
    return { text, changed: true };
  } catch (error) {
    if (error instanceof Refused && error.problem.violations.length > 0)
      throw new Failure(`cannot apply config '${name}': ${error.message}`, {
        exit: error.exit,
        details: error.problem.violations.map(declared.tell),
      });
    throw error instanceof Failure && error.exit !== EXIT.interrupted
      ? error.during(`cannot apply config '${name}'`)
      : error;
  }
}

const WOULD = { create: "would be created", update: "would be updated", unchanged: "would stay as it is" } as const;

async function rehearsed(session: Session, declared: DeclaredConfig): Promise<keyof typeof WOULD> {
  try {
    const { view } = await present(session, `${declared.body.namespace}/${declared.body.name}`);
    return isSame(view, declared) ? "unchanged" : "update";
  } catch (error) {
    if (error instanceof Failure && error.exit === EXIT.notFound) return "create";
    throw error;
  }
}

/** Null when there is one of the name. */
async function create(session: Session, { body }: DeclaredConfig): Promise<string | null> {
  try {
    return (await session.api.post("/configs", { body })).text;
  } catch (error) {
    if (error instanceof Refused && error.problem.code === "name_taken") return null;
    throw error;
  }
}

async function present(session: Session, reference: string): Promise<{ text: string; view: ConfigView }> {
  const { text } = await session.api.get(`/configs/${await configId(session.api, reference)}`);
  return { text, view: JSON.parse(text) as ConfigView };
}

const isSame = (view: ConfigView, { body }: DeclaredConfig): boolean =>
  view.data === body.data && (view.labels ?? "") === (body.labels ?? "");
