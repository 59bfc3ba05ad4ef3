// `npm run bench [-- NAME…] [--quick] [--json FILE]`: the figures that the README quotes, each over the bare thing in the same run.
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { apply } from "./apply.ts";
import { createToRunning } from "./create-to-running.ts";
import { deathToStatus } from "./death-to-status.ts";
import { engine } from "./engine.ts";
import type { Figure, Line, Setting } from "./figure.ts";
import { gateway } from "./gateway.ts";
import { idle } from "./idle.ts";
import { memory } from "./memory.ts";
import { postgresStart } from "./postgres-start.ts";
import { requests } from "./requests.ts";
import { restart } from "./restart.ts";
import { sleeping } from "./sleeping.ts";
import { summary } from "./summary.ts";
import { wake } from "./wake.ts";
import { webhooks } from "./webhooks.ts";

const FIGURES: readonly Figure[] = [
  createToRunning,
  deathToStatus,
  requests,
  apply,
  webhooks,
  restart,
  idle,
  memory,
  sleeping,
  gateway,
  postgresStart,
  wake,
  engine,
];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: "boolean", default: false },
    json: { type: "string" },
    help: { type: "boolean", default: false },
  },
});
const unknown = positionals.filter((name) => !FIGURES.some((figure) => figure.name === name));
if (values.help || unknown.length > 0) {
  for (const name of unknown) console.error(`there is no figure named ${name}`);
  console.error("usage: npm run bench [-- NAME…] [--quick] [--json FILE]\n");
  for (const { name, about } of FIGURES) console.error(`  ${name.padEnd(18)} ${about}`);
  process.exit(values.help ? 0 : 1);
}

const stopsAtEnd: (() => Promise<void>)[] = [];
let stopsOfFigure: (() => Promise<void>)[] = [];
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, async () => {
    await stopAll();
    process.exit(130);
  });
}

const lines: (Line & { figure: string })[] = [];
const leftOut: string[] = [];
const failed: string[] = [];
for (const figure of FIGURES.filter(({ name }) => positionals.length === 0 || positionals.includes(name))) {
  const started = performance.now();
  const say = (line: string) => console.error(`  ${line}`);
  console.error(`${figure.name}: ${figure.about}`);
  const setting: Setting = {
    quick: values.quick,
    say,
    after: (stop) => void stopsOfFigure.push(stop),
    atEnd: (stop) => void stopsAtEnd.push(stop),
  };
  try {
    const outcome = await figure.measure(setting);
    if ("leftOut" in outcome) leftOut.push(`${figure.name}: ${outcome.leftOut}`);
    else lines.push(...outcome.map((line) => ({ figure: figure.name, ...line })));
  } catch (error) {
    failed.push(`${figure.name}: ${(error as Error).stack ?? error}`);
  }
  await stopOfFigure();
  say(`took ${((performance.now() - started) / 1000).toFixed(0)} s`);
}
await stopAll();

console.log(`\n${summary(lines)}`);
if (values.quick) console.log("Measured with --quick: these numbers show that it runs, no more.");
for (const line of leftOut) console.log(`left out: ${line}`);
for (const line of failed) console.log(`failed: ${line}`);
if (values.json !== undefined)
  writeFileSync(values.json, `${JSON.stringify({ quick: values.quick, lines, left_out: leftOut, failed }, null, 2)}\n`);
process.exit(failed.length > 0 ? 1 : 0);

async function stopOfFigure(): Promise<void> {
  const stops = stopsOfFigure;
  stopsOfFigure = [];
  for (const stop of stops.reverse()) await stop().catch((error: unknown) => console.error(`  clearing up: ${error}`));
}

async function stopAll(): Promise<void> {
  await stopOfFigure();
  for (const stop of stopsAtEnd.splice(0).reverse())
    await stop().catch((error: unknown) => console.error(`  clearing up: ${error}`));
}
