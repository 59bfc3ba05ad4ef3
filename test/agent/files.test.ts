import { existsSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { credentialsIn } from "../../agent/docker/registry-config.ts";
import { Ledger } from "../../agent/ledger.ts";
import { outsideBase } from "../../agent/process/create.ts";
import { Folders } from "../../agent/process/folder.ts";
import { withoutSecrets } from "../../agent/secrecy.ts";
import { StateKey } from "../../agent/state-key.ts";
import { linesOf, startDriver, up } from "./process-driver.ts";
import { eventually, folder, sh, spec, workload } from "./workload.ts";

/** Every file below a folder. */
const filesBelow = (path: string): string[] =>
  readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));

const canary = () => `canary-${Math.random().toString(36).slice(2)}`;

test("a process reads its files by $LAMPLIGHTER_FILES; they go with the instance", async () => {
  const dataDir = folder();
  const started = await startDriver(dataDir);
  const text = canary();
  const { made, seen } = await up(started, {
    command: sh('cat "$LAMPLIGHTER_FILES/app.json" "$LAMPLIGHTER_FILES/tls/key"; echo; sleep 100'),
    files: [
      { destination: "app.json", content: "{}" },
      { destination: "tls/key", content: text },
    ],
  });
  expect(seen.phase).toBe("running");
  await eventually(
    async () => (await linesOf(started.driver, made.id)).some(({ message }) => message === `{}${text}`),
    "read",
  );
  const { stdout } = await started.driver.exec(made.id, 1, sh('printf %s "$LAMPLIGHTER_FILES"'), 5_000);
  expect(statSync(join(stdout, "tls/key")).mode & 0o777).toBe(0o400);
  expect(statSync(stdout).mode & 0o007).toBe(0);
  await started.driver.remove(made.id, 1, 0);
  expect(existsSync(stdout)).toBe(false);
  await started.driver.forget(made.id);
  const outside = outsideBase(new Folders(dataDir));
  expect(existsSync(join(outside, `${made.id}.files`))).toBe(false);
});

test("a destination that leads out of the folder of files is refused", async () => {
  const dataDir = folder();
  const started = await startDriver(dataDir);
  for (const destination of ["../x", "/etc/x", "a/../../x", "a//b", "."]) {
    const made = workload({ spec: { files: [{ destination, content: "x" }] } });
    expect(await started.driver.apply(made, new AbortController().signal)).toMatchObject({
      phase: "failed",
      failure: { kind: "config_error", reason: "file_destination_invalid" },
    });
    await started.driver.remove(made.id, 1, 0);
    await started.driver.forget(made.id);
  }
});

test("what an instance's folder and the ledger hold is sealed", async () => {
  const dataDir = folder();
  const secret = canary();
  const started = await startDriver(dataDir);
  const { made } = await up(started, {
    command: sh('[ -n "$SECRET" ] && echo ready; sleep 100'),
    environment: { SECRET: secret },
    files: [{ destination: "s", content: secret }],
  });
  await eventually(async () => (await linesOf(started.driver, made.id)).length > 0, "it has its environment");
  expect((await started.driver.exec(made.id, 1, sh("echo $SECRET"), 5_000)).stdout).toBe(`${secret}\n`);
  const ledger = Ledger.open(dataDir);
  const kept = {
    id: made.id,
    fence: 1,
    want: "running" as const,
    owner: made.owner,
    probing: "all" as const,
    spec: made.spec,
    last: null,
    changedAt: 1,
  };
  ledger.keep([kept]);
  const holding = () => filesBelow(dataDir).filter((path) => readFileSync(path).includes(secret));
  expect(holding().filter((path) => !path.includes("/files/g1/"))).toEqual([]);
  expect(ledger.workloads()).toEqual([kept]);
  ledger.close();
  expect(holding().filter((path) => !path.includes("/files/g1/"))).toEqual([]);
  // With another key it is as if there was no specification; the control plane brings it again.
  rmSync(join(dataDir, "state.key"));
  const other = Ledger.open(dataDir);
  onTestFinished(() => other.close());
  expect(other.workloads()).toEqual([{ ...kept, spec: null }]);
});

test("the key of a state folder is made once, is its owner's, and is made anew when it is damaged", () => {
  const dataDir = folder();
  const key = StateKey.of(dataDir);
  expect(statSync(key.path).mode & 0o777).toBe(0o600);
  const sealed = key.seal("text ✓");
  expect(StateKey.of(dataDir).open(sealed)).toBe("text ✓");
  expect(key.open("from before")).toBe("from before");
  expect(key.open(`${sealed.slice(0, -6)}AAAAA=`)).toBeNull();
  writeFileSync(key.path, "");
  expect(StateKey.of(dataDir).open(sealed)).toBeNull();
  expect(readdirSync(dataDir)).toEqual(["state.key"]);
  const elsewhere = folder();
  symlinkSync(key.path, join(elsewhere, "state.key"));
  expect(StateKey.of(elsewhere).open(StateKey.of(dataDir).seal("x"))).toBe("x");
});

test("a Docker config.json gives the credentials for the image's registry, and no others", () => {
  const config = JSON.stringify({
    auths: {
      "https://index.docker.io/v1/": { auth: Buffer.from("hub:p:w").toString("base64") },
      "registry.example.com:5000": { username: "u", password: "p" },
      "token.example.com": { identitytoken: "t" },
    },
    credHelpers: { "helped.example.com": "ecr-login" },
  });
  expect(credentialsIn(config, "nginx")).toMatchObject({ auth: { username: "hub", password: "p:w" } });
  expect(credentialsIn(config, "registry.example.com:5000/a/b:1")).toMatchObject({
    auth: { username: "u", password: "p", serveraddress: "registry.example.com:5000" },
  });
  expect(credentialsIn(config, "ghcr.io/x/y")).toEqual({ none: "it has no credentials for ghcr.io" });
  expect(credentialsIn(config, "token.example.com/x")).toMatchObject({
    none: expect.stringContaining("identity token"),
  });
  expect(credentialsIn(config, "helped.example.com/x")).toMatchObject({ none: expect.stringContaining("ecr-login") });
  expect(credentialsIn("hunter2", "nginx")).toEqual({ fault: "it is not JSON" });
  expect(credentialsIn('{"auths":{"x":"hunter2"}}', "nginx")).toEqual({
    fault: "it is not a Docker config.json (auths.x)",
  });
});

test("messages leave out the values of files and registry credentials", () => {
  const auth = Buffer.from("user:sesame-pw").toString("base64");
  const told = withoutSecrets(`denied: sesame-pw ${auth} key-material literal`, {
    ...spec({ files: [{ destination: "k", content: "key-material" }] }),
    registry_config: JSON.stringify({ auths: { r: { auth, password: "literal" } } }),
  });
  expect(told).toBe("denied: [hidden] [hidden] [hidden] [hidden]");
});
