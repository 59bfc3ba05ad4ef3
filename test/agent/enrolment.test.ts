import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type AgentOptions, runAgent } from "../../agent/main.ts";
import { ControlPlane } from "./control-plane.ts";
import { cleanups, linked, tidyAfterEach } from "./linked-agent.ts";
import { folder } from "./workload.ts";

tidyAfterEach();

test("a join token that is not valid is a clear error, and the key that was made stays for the next try", async () => {
  const plane = await ControlPlane.start();
  cleanups.push(() => plane.close());
  const dataDir = folder();
  const options: AgentOptions = {
    url: plane.url,
    dataDir,
    joinToken: "wrong",
    transport: "tunnel",
    runtimes: ["process"],
  };
  await expect(runAgent(options)).rejects.toThrow("did not let this host join: No valid token (HTTP 401)");
  const { public_key } = JSON.parse(readFileSync(join(dataDir, "identity.json"), "utf8"));
  const agent = await runAgent({ ...options, joinToken: plane.joinToken });
  cleanups.push(() => agent.close());
  expect(plane.enrolments).toMatchObject([{ public_key }]);
});

test("two agents do not share a folder", async () => {
  const { options, dataDir } = await linked("tunnel");
  await expect(runAgent(options)).rejects.toThrow(`Another agent (process ${process.pid}) works on ${dataDir}`);
});
