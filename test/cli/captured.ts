import { randomUUID } from "node:crypto";
import { rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import picocolors from "picocolors";
import { afterAll } from "vitest";
import { run } from "../../cli/run.ts";
import { Interrupt, type Surroundings } from "../../cli/session.ts";

export type Captured = { code: number; out: string; err: string };
type Given = {
  env?: Record<string, string>;
  stdin?: string;
  width?: number | null;
  color?: boolean;
  now?: number;
  interrupt?: Interrupt;
  /** What a person at the terminal types, one answer after the other. */
  typed?: string[];
};

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** An environment whose context file nobody else has. */
export function freshEnv(more: Record<string, string> = {}): Record<string, string> {
  const folder = join(tmpdir(), `lamplighter-config-${randomUUID()}`);
  folders.push(folder);
  return { XDG_CONFIG_HOME: folder, ...more };
}

/** Runs one command line in this process and answers what it printed. */
export async function lamplighter(argv: readonly string[], given: Given = {}): Promise<Captured> {
  let out = "";
  let err = "";
  const colors = picocolors.createColors(given.color === true);
  const around: Surroundings = {
    env: given.env ?? freshEnv(),
    terminal: {
      out: (text) => {
        out += text;
      },
      err: (text) => {
        err += text;
      },
      width: given.width ?? null,
      live: null,
      color: colors,
      errColor: colors,
    },
    now: () => given.now ?? Date.now(),
    readStdin: async () => given.stdin ?? "",
    prompt: given.typed
      ? async (question) => {
          err += question;
          return given.typed?.shift() ?? "";
        }
      : null,
    interrupt: given.interrupt ?? new Interrupt(),
  };
  const code = await run(argv, around);
  return { code, out, err };
}
