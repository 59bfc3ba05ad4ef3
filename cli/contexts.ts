import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { z } from "zod";
import { Failure } from "./failure.ts";

const Context = z.object({
  url: z.string(),
  token: z.string().nullable().default(null),
  /**
   * `up`: written by a running `lamplighter up`, which may overwrite it; a context of the user's own is left alone. `login`: made by logging in
   * where there was no context of the user's own, and removed by logging out.
   */
  by: z.enum(["user", "up", "login"]).default("user"),
});
export type Context = z.infer<typeof Context>;

const ContextFile = z.object({
  current: z.string().nullable().default(null),
  contexts: z.record(z.string(), Context).default({}),
});
export type ContextFile = z.infer<typeof ContextFile>;

type Env = Record<string, string | undefined>;

export const DEFAULT_URL = "http://127.0.0.1:8787";

/** The variable of the environment that says where the file of contexts is. */
export const CONTEXT_FILE = "LAMPLIGHTER_CONFIG_FILE";

export function contextFilePath(env: Env): string {
  if (env[CONTEXT_FILE]) return env[CONTEXT_FILE];
  return join(env.XDG_CONFIG_HOME || join(env.HOME || homedir(), ".config"), "lamplighter", "contexts.json");
}

export function readContexts(env: Env): ContextFile {
  const path = contextFilePath(env);
  if (!existsSync(path)) return { current: null, contexts: {} };
  try {
    return ContextFile.parse(JSON.parse(readFileSync(path, "utf8")));
  } catch (error) {
    const why = error instanceof z.ZodError ? z.prettifyError(error) : (error as Error).message;
    throw new Failure(`cannot read the context file ${path}: ${why}`, {
      hint: "Mend it, or delete it and set the contexts again.",
    });
  }
}

/** Written beside and renamed, so that a reader never sees half of it; tokens are in it, so only its owner may read it. */
export function writeContexts(env: Env, file: ContextFile): void {
  const path = contextFilePath(env);
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const fresh = `${path}.${process.pid}.new`;
  writeFileSync(fresh, `${JSON.stringify(file, null, 2)}\n`, { mode: 0o600 });
  chmodSync(fresh, 0o600);
  renameSync(fresh, path);
}

export type Asked = { context?: string | undefined; url?: string | undefined; token?: string | undefined };
export type Target = { url: string; token: string | null; name: string | null; from: string };

/**
 * Which server is asked, and as whom: the flags, else the context asked for, else the environment, else the current context. A token
 * goes only to the server it was given for: a context's token is never sent to a URL from somewhere else.
 */
export function chooseTarget(asked: Asked, env: Env): Target {
  const file = readContexts(env);
  const envToken = env.LAMPLIGHTER_TOKEN || undefined;
  const envUrl = env.LAMPLIGHTER_URL || undefined;
  const name = asked.context ?? (asked.url === undefined && envUrl === undefined ? file.current : null);
  const context = name === null ? undefined : file.contexts[name];
  if (asked.context !== undefined && context === undefined) throw unknownContext(asked.context, file);
  const url = normalUrl(asked.url ?? context?.url ?? envUrl ?? DEFAULT_URL);
  const same = context?.url === url ? context : Object.values(file.contexts).find((one) => one.url === url);
  const token =
    asked.token ??
    (asked.context === undefined ? (envToken ?? same?.token ?? null) : (same?.token ?? envToken ?? null));
  const from =
    asked.url !== undefined
      ? "--url"
      : context !== undefined
        ? `context ${name}`
        : envUrl !== undefined
          ? "$LAMPLIGHTER_URL"
          : "default";
  return { url, token, name: context === undefined ? null : name, from };
}

export function normalUrl(text: string): string {
  const withScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  if (!URL.canParse(withScheme) || !/^https?:$/.test(new URL(withScheme).protocol)) {
    throw new Failure(`'${text}' is not the URL of a server: expected http://… or https://…`);
  }
  return withScheme.replace(/\/+$/, "");
}

export function unknownContext(name: string, file: ContextFile): Failure {
  const known = Object.keys(file.contexts);
  return new Failure(`context '${name}' not found`, {
    exit: 4,
    hint:
      known.length === 0
        ? "There are none: `lamplighter context set NAME --url URL --token TOKEN` makes one."
        : `Known: ${known.join(", ")}.`,
  });
}
