import { type AgentOptions, runAgent } from "../../agent/main.ts";

const options = JSON.parse(process.argv[2] as string) as AgentOptions;
try {
  const agent = await runAgent({ ...options, log: (line) => console.log(line) });
  process.on("SIGTERM", () => void agent.close());
  const { reason } = await agent.stopped;
  console.log(`stopped: ${reason}`);
} catch (error) {
  console.log(`failed: ${(error as Error).message}`);
  process.exitCode = 1;
}
