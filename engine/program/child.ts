import { type ChildProcess, spawn } from "node:child_process";
import { readdir, rm, writeFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import type { z } from "zod";
import { EngineHealth, type EngineSettings, nodeArguments } from "../../contract/engine.ts";
import { REPORT_ENV } from "../../contract/instance-report.ts";

export type End = { code: number | null; signal: NodeJS.Signals | null };
type Said = { code: string | null; text: string };

const ANSWERS_WITHIN_MS = 5_000;
/** Less than what a host gives a program to end, ms. */
const ENDS_WITHIN_MS = 7_000;
/** A shorter one would blank out ordinary words, and protect nothing. */
const SHORTEST_HIDDEN = 4;
const SECRETS: string[] = [REPORT_ENV.token, REPORT_ENV.password, REPORT_ENV.keySecret, REPORT_ENV.task];
/** What Node keeps of compiling modules is of no use to a program that is rarely started twice. */
const LEFT_OUT = [...SECRETS, "NODE_COMPILE_CACHE"];

/** An artifact that runs. */
export class EngineChild {
  readonly ended: Promise<End>;
  hasEnded = false;
  /** What it last complained about. */
  complaint: Said | null = null;
  readonly #child: ChildProcess;
  readonly #url: string;
  readonly #adminToken: string;
  readonly #hidden: string[];
  #settingsFile: string | null;

  static async start(artifact: string, settings: z.input<typeof EngineSettings>): Promise<EngineChild> {
    // One that was killed before it had read them has left them.
    for (const left of await readdir(".")) if (/^settings-\d+\.json$/.test(left)) await rm(left, { force: true });
    const file = `${process.cwd()}/settings-${settings.generation}.json`;
    await writeFile(file, JSON.stringify(settings), { mode: 0o600 });
    return new EngineChild(artifact, file, settings);
  }

  private constructor(
    artifact: string,
    file: string,
    { listen, adminToken, memoryMb = 0 }: z.input<typeof EngineSettings>,
  ) {
    this.#settingsFile = file;
    this.#url = `http://127.0.0.1:${listen.port}`;
    this.#adminToken = adminToken;
    this.#hidden = SECRETS.flatMap((name) => process.env[name] ?? []).filter(
      (value) => value.length >= SHORTEST_HIDDEN,
    );
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !LEFT_OUT.includes(name)));
    const child = spawn(process.execPath, [...nodeArguments(memoryMb), artifact, "--settings", file], {
      env,
      stdio: ["ignore", "inherit", "pipe"],
    });
    this.#child = child;
    this.ended = new Promise((resolve) => {
      child.once("error", (error) => {
        this.complaint = { code: "engine_died", text: error.message };
        resolve({ code: 1, signal: null });
      });
      // Not at its exit: what it last said comes after that.
      child.once("close", (code, signal) => resolve({ code, signal }));
    });
    void this.ended.then(() => {
      this.hasEnded = true;
    });
    if (child.stderr) createInterface({ input: child.stderr }).on("line", (line) => this.#hear(line));
  }

  /** Null while it does not answer. */
  async health(): Promise<EngineHealth | null> {
    const answer = await this.ask("GET", "/health").catch(() => null);
    const health = answer === null ? null : EngineHealth.safeParse(JSON.parse(answer.text));
    if (!health?.success) return null;
    await this.forgetSettings();
    return health.data;
  }

  async ask(method: string, path: string, body?: unknown): Promise<{ status: number; text: string }> {
    const response = await fetch(this.#url + path, {
      method,
      headers: { authorization: `Bearer ${this.#adminToken}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(ANSWERS_WITHIN_MS),
    });
    return { status: response.status, text: await response.text() };
  }

  /** It has read them once it answers; the secrets in them need not lie there any longer. */
  async forgetSettings(): Promise<void> {
    const file = this.#settingsFile;
    this.#settingsFile = null;
    if (file !== null) await rm(file, { force: true });
  }

  /** In good order if it can. */
  async stop(): Promise<End> {
    this.#child.kill("SIGTERM");
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), ENDS_WITHIN_MS);
    return this.ended.finally(() => clearTimeout(timer));
  }

  #hear(said: string): void {
    // Its log is read by more people than may know these.
    const line = this.#hidden.reduce((text, secret) => text.replaceAll(secret, "[hidden]"), said);
    console.error(line);
    try {
      const { level, text, code = null } = JSON.parse(line) as { level: string } & Said;
      if (level === "warn" || level === "error") this.complaint = { text, code };
    } catch {
      // Not one of its own lines: a stack, or what Node says.
    }
  }
}
