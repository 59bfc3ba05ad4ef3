import type { Command } from "commander";
import { withExamples } from "../command.ts";
import type { Surroundings } from "../session.ts";

export function demoCommand(program: Command, around: Surroundings): void {
  withExamples(
    program
      .command("demo")
      .description("see the whole thing work on real parts, in a temporary folder, in a few seconds"),
    ["lamplighter demo"],
  )
    .option("--keep", "leave the temporary folder behind, to look into it")
    .action(async (options: { keep?: boolean }) => {
      const { demo } = await import("./demo.ts");
      await demo(around, options.keep === true);
    });
}
