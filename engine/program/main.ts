// `lamplighter-engine test|build|serve|release`: what the workloads of an instance run. contract/engine-task.ts says what each is given; `tell` is tell.mjs.
import { type Given, givenIn, sourceOf, type TaskOf } from "./environment.ts";
import { NotAwaited, Reports } from "./reports.ts";

// What only one of them needs is loaded there: an engine's memory is for its rows.
const PROGRAMS = {
  test: async (given: Given, task: TaskOf<"test">, reports: Reports): Promise<void> => {
    const { testSource } = await import("./source-test.ts");
    await reports.send({ kind: "tested", test: await testSource(sourceOf(given, null), task) });
  },
  build: async (given: Given, task: TaskOf<"build">, reports: Reports): Promise<void> => {
    const { build } = await import("./build-task.ts");
    await build(given, task, reports);
  },
  serve: async (given: Given, task: TaskOf<"serve">, reports: Reports): Promise<void> => {
    const { serve } = await import("./serve.ts");
    const { code, signal } = await serve(given, task, reports);
    // Its host is to see the engine's end, not that of the program beside it.
    if (signal !== null) {
      process.removeAllListeners(signal);
      process.kill(process.pid, signal);
    }
    process.exitCode = code ?? 1;
  },
  release: async (given: Given, task: TaskOf<"release">, reports: Reports): Promise<void> => {
    const { release } = await import("./release.ts");
    await release(sourceOf(given, null), task, reports);
  },
};

async function main([what]: string[]): Promise<void> {
  const given = givenIn(process.env);
  const { task } = given;
  if (task.do !== what)
    throw new Error(`usage: lamplighter-engine test|build|serve|release, as the task says, or tell ORDERS`);
  const reports = new Reports(given);
  try {
    await (PROGRAMS[task.do] as (given: Given, task: unknown, reports: Reports) => Promise<void>)(given, task, reports);
  } catch (error) {
    // That is no fault of this program.
    if (!(error instanceof NotAwaited)) throw error;
    console.error(`nobody waits for this ${what}: ${error.message}`);
  }
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
// A driver's connection that closes slowly keeps nobody waiting.
process.exit();
