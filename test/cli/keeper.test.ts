import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { afterAll, expect, test } from "vitest";

const main = join(import.meta.dirname, "..", "..", "cli", "main.ts");
const folder = mkdtempSync(join(tmpdir(), "lamp-cli-keeper-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const lamplighter = (args: string[], env: Record<string, string> = {}): ChildProcess =>
  spawn(process.execPath, [main, "keeper", ...args], { env: { PATH: process.env.PATH, ...env }, stdio: "pipe" });

async function refusal(args: string[], env: Record<string, string> = {}): Promise<string> {
  const child = lamplighter(args, env);
  const said = child.stderr === null ? "" : await text(child.stderr);
  const code = child.exitCode ?? (await once(child, "exit"))[0];
  expect(code).toBe(1);
  return said;
}

test("it runs until it is told to stop, and says where it answers and where its token is", async () => {
  const child = lamplighter(["--data", folder, "--listen", "127.0.0.1:0", "--name", "keeper_a"]);
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream });
  const [line] = (await once(lines, "line")) as [string];
  const url = /the keeper keeper_a answers at (\S+),/.exec(line)?.[1] ?? "";
  expect(await (await fetch(`${url}/health`)).json()).toEqual({ status: "ok", keeper: "keeper_a" });
  const token = readFileSync(join(folder, "token"), "utf8").trim();
  const databases = await fetch(`${url}/databases`, { headers: { authorization: `Bearer ${token}` } });
  expect(await databases.json()).toEqual([]);
  // Its token is for those who can read the file.
  expect(line).not.toContain(token);
  child.kill("SIGTERM");
  expect(await once(child, "exit")).toEqual([0, null]);
});

test("what it cannot work with is named", async () => {
  const data = ["--data", join(folder, "other"), "--listen", "127.0.0.1:0"];
  expect(await refusal([...data, "--name", "Keeper-1"])).toContain("--name 'Keeper-1'");
  expect(await refusal(["--listen", "7431"])).toContain("--listen '7431'");
  expect(await refusal([...data, "--keep-for", "a week"])).toContain("--keep-for 'a week'");
  expect(await refusal([...data, "--store", "s3://bucket/lamps"])).toContain("--s3-endpoint");
  expect(await refusal([...data, "--store", "s3://bucket", "--s3-endpoint", "http://127.0.0.1:1"])).toContain(
    "AWS_ACCESS_KEY_ID",
  );
  expect(await refusal([...data, "--tls-cert", "cert.pem"])).toContain("go together");
});
