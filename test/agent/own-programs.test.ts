// The programs that come with the agent, for a user who cannot get to where it is installed.
import { execFile } from "node:child_process";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, onTestFinished, test } from "vitest";
import { copyPrograms, ownPrograms, PACKAGES } from "../../agent/own-programs.ts";
import { firstAccountOf } from "../../agent/process/account.ts";
import { requires } from "../requires.ts";

const run = promisify(execFile);
const root = await requires("root");
const PROJECT = join(import.meta.dirname, "..", "..");

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "lamplighter-programs-"));
  chmodSync(path, 0o711);
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

test("what is copied names every package that it imports", () => {
  const files = ["engine", "contract"].flatMap((part) =>
    readdirSync(join(PROJECT, part), { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".ts"))
      .map((file) => readFileSync(join(PROJECT, part, file), "utf8")),
  );
  const imported = files.flatMap((text) =>
    [...text.matchAll(/^(?:import|export)\b[^;"]*from "([a-z@][^":]*)"/gm)].map(([, name]) => name as string),
  );
  const packages = new Set(
    imported.map((name) =>
      name
        .split("/")
        .slice(0, name.startsWith("@") ? 2 : 1)
        .join("/"),
    ),
  );
  expect([...packages].sort()).toEqual([...PACKAGES].sort());
});

test("an installation that its user can get to is used as it is", async () => {
  expect(await ownPrograms(folder(), null)).toBe(join(PROJECT, "bin"));
});

describe.skipIf(!root.available)("a copy", () => {
  test("is whole, and another user runs it", async () => {
    const target = join(folder(), "programs", "one");
    await Promise.all([copyPrograms(target), copyPrograms(`${target}-other`)]);
    const account = await firstAccountOf(["nobody"]);
    const options = { uid: account?.uid, gid: account?.gid, cwd: "/", env: { PATH: "/usr/bin:/bin" } };
    const parts = ["build-task", "source-test", "serve", "orders"];
    const script = parts.map(
      (part) => `await import(${JSON.stringify(join(target, "engine/program", `${part}.ts`))});`,
    );
    const esbuild = `const { transform } = await import(${JSON.stringify(join(target, "node_modules/esbuild/lib/main.js"))}); console.log((await transform("let a = 1")).code);`;
    const node = join(target, "node_modules", ".bin", "node");
    const { stdout } = await run(node, ["--input-type=module", "-e", [...script, esbuild].join("\n")], options);
    expect(stdout.trim()).toBe("let a = 1;");
    const program = run(join(target, "bin", "lamplighter-engine"), ["build"], options);
    await expect(program).rejects.toMatchObject({ stderr: expect.stringContaining("LAMPLIGHTER_ENGINE_TASK") });
  });
});
