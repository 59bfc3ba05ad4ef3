import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EXIT } from "../../cli/failure.ts";
import { type ControlPlane, startControlPlane } from "../../cli/up/control-plane.ts";
import { newRootToken, tokenHash } from "../../cli/up/root-token.ts";
import { newSecretKey } from "../../cli/up/secret-keys.ts";
import type { ConfigView } from "../../contract/config.ts";
import { type Captured, freshEnv, lamplighter } from "./captured.ts";

// A real control plane without a host.
const dataDir = mkdtempSync(join(tmpdir(), "lamplighter-cli-"));
const rootToken = newRootToken();
let plane: ControlPlane;
let env: Record<string, string>;
beforeAll(async () => {
  plane = await startControlPlane({
    dataDir,
    port: 0,
    tokenHash: tokenHash(rootToken),
    secretKeys: newSecretKey("k1"),
  });
  env = freshEnv({ LAMPLIGHTER_URL: plane.url, LAMPLIGHTER_TOKEN: rootToken });
});
afterAll(async () => {
  await plane.child.stop(500);
  rmSync(dataDir, { recursive: true, force: true });
});

const cli = (argv: string, stdin?: string): Promise<Captured> =>
  lamplighter(argv.split(" "), { env, ...(stdin === undefined ? {} : { stdin }) });
const done = (out: RegExp) => ({ code: 0, err: "", out: expect.stringMatching(out) });

describe("namespaces", () => {
  test("are made, listed, told of, and deleted when nothing is in them", async () => {
    expect(await cli("namespace create shop")).toMatchObject(done(/^Namespace 'shop' created \(id: ns_\w+\)\n$/));
    expect(await cli("namespace create shop")).toMatchObject({ code: EXIT.conflict });
    expect((await cli("namespace list")).out).toMatch(/shop/);
    await cli("secret create held -n shop", "x");
    const refused = await cli("namespace delete shop");
    expect([refused.code, refused.err]).toEqual([EXIT.conflict, expect.stringContaining("1 thing is in 'shop'")]);
    await cli("secret delete held -n shop");
    expect(await cli("namespace delete shop")).toMatchObject(done(/^Namespace 'shop' deleted\n$/));
    expect((await cli("namespace audit shop")).out).toMatch(/delete[\s\S]*create/);
    expect((await cli("namespace delete shop")).code).toBe(EXIT.notFound);
  });
});

describe("configs", () => {
  test("are made of files and words, shown, changed and deleted", async () => {
    const file = join(dataDir, "app.json");
    writeFileSync(file, '{"a":1}');
    expect(await cli(`config create app -n conf --from-file ${file} --from-literal level=debug`)).toMatchObject(
      done(/^Config 'app' created in namespace 'conf' \(id: cfg_\w+\)\n$/),
    );
    const read = async () => JSON.parse((await cli("config inspect conf/app -o json")).out) as ConfigView;
    expect(JSON.parse((await read()).data)).toEqual({ "app.json": '{"a":1}', level: "debug" });
    expect((await cli("config inspect app -n conf")).out).toContain("level");
    expect((await cli("config list -n conf")).out).toMatch(/app[\s\S]*level/);
    expect((await cli("config update app -n conf --from-literal level=info")).code).toBe(0);
    expect(JSON.parse((await read()).data)).toMatchObject({ level: "info" });
    await cli("config update app -n conf --merge --from-literal more=x");
    expect(JSON.parse((await read()).data)).toEqual({ level: "info", more: "x" });
    await cli("config create text -n conf --data plain");
    const merged = await cli("config update text -n conf --merge --from-literal a=b");
    expect([merged.code, merged.err]).toEqual([1, expect.stringContaining("what it holds is not a JSON object")]);
    expect((await cli("config create none -n conf")).err).toContain("nothing to put into the config");
    expect(await cli("config delete app -n conf")).toMatchObject(done(/deleted/));
    expect((await cli("config inspect conf/app")).code).toBe(EXIT.notFound);
  });
});

describe("secrets", () => {
  test("are read from standard input, a file or a variable, and shown nowhere", async () => {
    await cli("namespace create safe");
    const file = join(dataDir, "key");
    writeFileSync(file, "canary-file\n");
    env = { ...env, FROM_HERE: "canary-env" };
    const said = [
      await cli("secret create one -n safe", "canary-stdin\n"),
      await cli(`secret create two -n safe --from-file ${file}`),
      await cli("secret create three -n safe --from-env FROM_HERE"),
      await cli("secret create four -n safe -v canary-flag"),
      await cli("secret update one -n safe -v canary-new"),
      await cli("secret list -n safe"),
      await cli("secret list -n safe -o json"),
      await cli("secret create one -n safe -v canary-again"),
    ];
    expect(said.map(({ code }) => code)).toEqual([0, 0, 0, 0, 0, 0, 0, EXIT.conflict]);
    for (const { out, err } of said) expect(out + err).not.toContain("canary");
    expect(said[0]?.out).toMatch(/^Secret 'one' created in namespace 'safe' \(id: sec_\w+\)\n$/);
    expect((await cli("secret create here -n nowhere -v xx")).code).toBe(EXIT.notFound);
    expect(await cli("secret reseal")).toMatchObject(done(/^Sealed with k1: 0 anew\nOnly k1 is needed/));
  });

  test("that are referred to are deleted by force only, and whoever refers is named", async () => {
    const manifest = {
      name: "user",
      namespace: "refs",
      runtime: "process",
      command: ["sleep", "9"],
      environment: { A: { secretRef: "used" } },
    };
    await cli("apply -f -", JSON.stringify({ deployments: { user: manifest } }));
    await cli("secret create used -n refs -v xx");
    const refused = await cli("secret delete used -n refs");
    expect([refused.code, refused.err]).toEqual([EXIT.conflict, expect.stringContaining("refs/user")]);
    expect(refused.err).toContain("--force");
    expect((await cli("secret delete used -n refs --force")).code).toBe(0);
  });
});

describe("volumes", () => {
  test("are registered, listed, shown and deleted", async () => {
    await cli("namespace create disk");
    expect((await cli("volume create uploads -n disk")).code).toBe(0);
    expect((await cli("volume list -n disk")).out).toMatch(/uploads/);
    expect((await cli("volume inspect disk/uploads")).out).toMatch(/uploads/);
    expect(await cli("volume delete uploads -n disk")).toMatchObject(done(/deleted/));
    expect((await cli("volume inspect disk/uploads")).code).toBe(EXIT.notFound);
  });
});
