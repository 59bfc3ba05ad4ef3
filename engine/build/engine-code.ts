import { checkRowFilter } from "../../query/check.ts";
import { parseFilter } from "../../query/parser.ts";
import { ConditionCode, constantCode, ShapeCode } from "../query/condition-code.ts";
import type { Shape } from "../shape/shape.ts";
import { tableClass } from "./table-code.ts";

/** What the code of tables calls by name. */
const NAMES = [
  ...["Interner", "OrderedRows", "nullInside", "wide", "storeWide", "compareWide", "wideFromText", "floatFromText"],
  ...["booleanFromText", "bytesFromText", "dateTimeFromText", "dateFromText", "timeFromText", "compareDecimal"],
  ...["isPlain", "LikePattern"],
];
/** And how each of them is called in an artifact, where it is there a thousand times. */
export const CALLED: Readonly<Record<string, string>> = Object.fromEntries(NAMES.map((name, i) => [name, `$${i}`]));

/**
 * The part of every engine that is the same: a module that hands the rest what it calls.
 * @param folder where the sources of engine/ are
 */
export function programCode(folder: string): string {
  const from = (file: string) => JSON.stringify(`${folder}/${file}`);
  return `
export * from ${from("store/runtime.ts")};
export { LikePattern } from ${from("../query/like.ts")};
export { runAsProgram } from ${from("run.ts")};
`;
}

/** A class per table of a shape, each for itself. */
export function tableClasses(shape: Shape): string[] {
  const code = new ShapeCode(shape);
  return shape.tables.map((table, place) => {
    if (table.where === null) return tableClass(`T${place}`, table, code.indexes[place] ?? [], null);
    const { check, parameters } = checkRowFilter(table, parseFilter(table.where, true));
    const conditions = new ConditionCode(code, (at) => `K${place}[${at}]`);
    const keeps = conditions.holds(check, place, "this", "row");
    const constants = `const K${place} = [${parameters.map(constantCode).join(", ")}];`;
    return constants + tableClass(`T${place}`, table, code.indexes[place] ?? [], keeps);
  });
}

/**
 * The module that is an engine.
 * @param program what `programCode` comes to, as an expression
 * @param classes what `tableClasses` comes to, with what they call by its short name
 */
export function engineCode(shape: Shape, openapi: unknown, program: string, classes: readonly string[]): string {
  const tables = shape.tables.map((_, place) => `t${place}: new T${place}()`).join(", ");
  const called = Object.entries(CALLED).map(([name, short]) => `${name}: ${short}`);
  return `const { ${called.join(", ")}, runAsProgram } = ${program};
${classes.join("\n")}
export const shape = ${JSON.stringify(shape)};
export const openapi = ${JSON.stringify(openapi)};
export function createStore() {
  const made = { ${tables} };
  made.tables = [${shape.tables.map((_, place) => `made.t${place}`).join(", ")}];
  return made;
}
await runAsProgram({ shape, openapi, createStore }, import.meta);
`;
}
