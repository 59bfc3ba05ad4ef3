import { expect, test } from "vitest";
import { REPORT_ENV } from "../../contract/instance-report.ts";
import { linesOf, startDriver, up } from "./process-driver.ts";
import { eventually, folder, sh } from "./workload.ts";

const SAY = sh('echo "url=$LAMPLIGHTER_URL path=$PATH"; sleep 100');

test("a program that reports is told where the control plane is, and finds the agent's own programs; others are not", async () => {
  const started = await startDriver(folder(), { controlUrl: "http://control:7070" });
  const said = async (id: string) => (await linesOf(started.driver, id)).map(({ message }) => message).join();
  const reporting = await up(started, { command: SAY, environment: { [REPORT_ENV.path]: "/instances/x/reports" } });
  await eventually(async () => (await said(reporting.made.id)).includes("url="), "said");
  expect(await said(reporting.made.id)).toMatch(/^url=http:\/\/control:7070 path=\S+:\S+\/bin$/);
  const other = await up(started, { command: SAY });
  await eventually(async () => (await said(other.made.id)).includes("url="), "said");
  expect(await said(other.made.id)).toMatch(/^url= /);
});
