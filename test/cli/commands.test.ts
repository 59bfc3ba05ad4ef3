import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { COMMAND_GROUPS } from "../../cli/command-groups.ts";
import { program } from "../../cli/run.ts";
import { Interrupt } from "../../cli/session.ts";
import { processTerminal } from "../../cli/terminal.ts";
import type { ControlPlane } from "../../cli/up/control-plane.ts";
import { startControlPlane } from "../../cli/up/control-plane.ts";
import { newRootToken, tokenHash } from "../../cli/up/root-token.ts";
import { TOKEN_PATTERN } from "../../contract/token.ts";
import { type Captured, freshEnv, lamplighter } from "./captured.ts";

// A real control plane without a host: everything is answered by it, and what is deployed stays pending.
const dataDir = mkdtempSync(join(tmpdir(), "lamplighter-cli-"));
const rootToken = newRootToken();
let plane: ControlPlane;
let env: Record<string, string>;

beforeAll(async () => {
  plane = await startControlPlane({ dataDir, port: 0, tokenHash: tokenHash(rootToken) });
  env = freshEnv({ LAMPLIGHTER_URL: plane.url, LAMPLIGHTER_TOKEN: rootToken });
});

afterAll(async () => {
  await plane.child.stop(500);
  rmSync(dataDir, { recursive: true, force: true });
});

const cli = (argv: string, more: { stdin?: string; env?: Record<string, string> } = {}): Promise<Captured> =>
  lamplighter(argv.split(" "), { env, ...more });

const around = () => ({
  env,
  terminal: processTerminal(),
  now: Date.now,
  readStdin: async () => "",
  prompt: null,
  interrupt: new Interrupt(),
});

const web = (more = "") => `name: web\nimage: nginx\nlabels: { team: web }\n${more}`;
const idIn = ({ out }: Captured) => /dep_[0-9a-z]{26}/.exec(out)?.[0] as string;

describe("apply", () => {
  test("creates, leaves alone, updates; a dry run says so and changes nothing", async () => {
    const stdin = web("namespace: one\n");
    expect((await cli("apply -f - --dry-run", { stdin })).out).toBe("deployment one/web would be created\n");
    expect((await cli("deployment list -n one")).out).toBe("No deployments.\n");
    const created = await cli("apply -f -", { stdin });
    expect(created).toMatchObject({
      code: 0,
      err: "",
      out: expect.stringMatching(/^deployment one\/web created \(dep_.*\)\n$/),
    });
    expect((await cli("apply -f -", { stdin })).out).toBe(`deployment one/web unchanged (${idIn(created)})\n`);
    const more = web("namespace: one\nreplicas: 2\n");
    expect((await cli("diff -f - --exit-code", { stdin: more })).out).toBe(
      "deployment one/web would be changed in place\n  - replicas: 1\n  + replicas: 2\n",
    );
    expect((await cli("apply -f -", { stdin: more })).out).toContain(`changed in place (${idIn(created)})`);
    expect((await cli("deployment scale one/web 3")).out).toBe("one/web is scaled to 3 replicas\n");
    const changed = web("namespace: one\nreplicas: 3\ncommand: [sleep, '9']\n");
    expect((await cli("apply -f - --dry-run", { stdin: changed })).out).toBe(
      "deployment one/web would be replaced at once (nothing of it was ready to serve)\n",
    );
    expect((await cli("apply -f - --dry-run=client", { stdin: changed })).out).toContain("is well-formed");
    const updated = await cli("apply -f -", { stdin: changed });
    expect(updated.out).toContain(`replaces ${idIn(created)} at once`);
    const history = await cli("deployment rollout history one/web");
    expect(history.out).toMatch(/4 .*applied, active.*apply/);
    expect((await cli("deployment rollout undo one/web")).err).toContain(
      "no rolling update to this version is going on",
    );
    expect((await cli("deployment rollback one/web --to 9")).code).toBe(4);
  });

  test("json is the answer itself, an array for several", async () => {
    const one = await cli("apply -f - -o json", { stdin: web("namespace: two\n") });
    expect(JSON.parse(one.out)).toMatchObject({ name: "web", namespace: "two" });
    const several = await cli("apply -f - -o json", { stdin: "name: a\nimage: x\n---\nname: b\nimage: x\n" });
    expect(JSON.parse(several.out).map((row: { name: string }) => row.name)).toEqual(["a", "b"]);
  });

  test("a file that is not there", async () => {
    expect(await cli("apply -f nowhere.yaml")).toEqual({
      code: 1,
      out: "",
      err: "error: cannot read nowhere.yaml: no such file\n",
    });
  });

  test("waiting ends with the timeout, and says what is missing", async () => {
    const answer = await cli("apply -f - --wait --timeout 300ms", { stdin: web("namespace: three\n") });
    expect(answer.code).toBe(1);
    expect(answer.err).toMatch(/error: not ready after 0 s: three\/web\n {2}\* three\/web is pending: .*host/);
  });
});

describe("deployments", () => {
  test("are listed, inspected, explained and deleted by name", async () => {
    await cli("apply -f -", { stdin: web("namespace: four\n") });
    expect((await cli("deployment list -n four -l team=web --kind worker")).out).toMatch(
      /dep_\w+ +four +web +worker +docker +0\/1 +pending/,
    );
    expect((await cli("deployment list -n four -s running")).out).toBe("No deployments.\n");
    expect((await cli("deployment inspect four/web")).out).toMatch(/^Name +web\nNamespace +four\n/);
    expect((await cli("explain four/web")).out).toMatch(/Status +pending[\s\S]*Waits for .*host/);
    expect((await cli("deployment events four/web")).out).toMatch(/TIME +LEVEL[\s\S]*deployment_created/);
    expect(parse((await cli("deployment inspect four/web -o yaml")).out)).toMatchObject({
      namespace: "four",
      status: "pending",
    });
    expect((await cli("deployment logs four/web")).code).toBe(0);
    expect((await cli("deployment delete four/web --wait")).out).toBe("deployment four/web is gone\n");
    expect((await cli("deployment inspect four/web")).code).toBe(4);
  });
});

describe("tokens", () => {
  test("the secret alone is on stdout, it works, and it ends", async () => {
    const created = await cli("token create viewer -s deployments:read -n five -e 1h");
    expect(created.out.trim()).toMatch(TOKEN_PATTERN);
    expect(created.err).toContain("deployments:read in five, until ");
    const asViewer = { env: { ...env, LAMPLIGHTER_TOKEN: created.out.trim() } };
    expect((await cli("deployment list", asViewer)).code).toBe(0);
    expect(await cli("host list", asViewer)).toMatchObject({ code: 2, err: expect.stringContaining("hosts:read") });
    const rotated = await cli("token rotate viewer");
    expect((await cli("deployment list", asViewer)).code).toBe(2);
    expect((await cli("deployment list", { env: { ...env, LAMPLIGHTER_TOKEN: rotated.out.trim() } })).code).toBe(0);
    expect((await cli("token revoke viewer")).out).toBe("token viewer revoked\n");
    expect((await cli("token list")).out).toMatch(/viewer +revoked/);
  });

  test("join tokens too, with the command to paste on stderr", async () => {
    const made = await cli("host join-token --uses 2 -l zone=a");
    expect(made.out.trim()).toMatch(TOKEN_PATTERN);
    expect(made.err).toContain(`lamplighter agent --url ${plane.url} --join-token ${made.out.trim()}`);
    expect((await cli("host list")).out).toContain("No hosts.");
  });

  test("a wrong scope is refused by its name", async () => {
    const answer = await cli("token create x -s deployments:reed");
    expect(answer).toMatchObject({ code: 1, out: "", err: expect.stringMatching(/ {2}\* scopes\[0\]: /) });
  });
});

test("the audit has what was done", async () => {
  await cli("apply -f -", { stdin: web("namespace: six\n") });
  expect((await cli("audit -n six")).out).toMatch(/root +create +deployment +six +web/);
});

test("a command is loaded by each of its names, and alone", async () => {
  for (const names of COMMAND_GROUPS.flatMap(([, group]) => Object.keys(group).map((key) => key.split(" "))))
    for (const name of names) {
      const { commands } = await program(around(), name);
      const has = commands.find((each) => [each.name(), ...each.aliases()].includes(name));
      expect([has?.name(), ...(has?.aliases() ?? [])], name).toEqual(names);
      expect(commands.length, name).toBe(1);
    }
});

test("every command has examples in its help", async () => {
  const root = await program(around());
  const paths = (command: typeof root, path: string[]): string[][] =>
    command.commands.length === 0 ? [path] : command.commands.flatMap((child) => paths(child, [...path, child.name()]));
  for (const path of paths(root, [])) {
    const { out, code } = await lamplighter([...path, "--help"], { env });
    expect(code).toBe(0);
    expect(out, path.join(" ")).toMatch(/Examples:\n( {2}.*lamplighter.*\n)+/);
  }
});
