import { checkRowFilter } from "../../query/check.ts";
import { parseFilter } from "../../query/parser.ts";
import { ConditionCode, constantCode, ShapeCode } from "../query/condition-code.ts";
import type { Shape } from "../shape/shape.ts";
import { tableClass } from "./table-code.ts";

/**
 * The module that is the engine of one shape: a class per table, and the program around them.
 * @param folder where the sources of engine/ are
 */
export function engineCode(shape: Shape, openapi: unknown, folder: string): string {
  const code = new ShapeCode(shape);
  const classes = shape.tables.map((table, place) => {
    if (table.where === null) return tableClass(`T${place}`, table, code.indexes[place] ?? [], null);
    const { check, parameters } = checkRowFilter(table, parseFilter(table.where, true));
    const conditions = new ConditionCode(code, (at) => `K${place}[${at}]`);
    const keeps = conditions.holds(check, place, "this", "row");
    const constants = `const K${place} = [${parameters.map(constantCode).join(", ")}];`;
    return constants + tableClass(`T${place}`, table, code.indexes[place] ?? [], keeps);
  });
  const from = (file: string) => JSON.stringify(`${folder}/${file}`);
  const tables = shape.tables.map((_, place) => `t${place}: new T${place}()`).join(", ");
  return `
import * as runtime from ${from("store/runtime.ts")};
import { LikePattern } from ${from("../query/like.ts")};
import { runAsProgram } from ${from("run.ts")};
const { ${["Interner", "OrderedRows", "nullInside", "wide", "storeWide", "compareWide", "wideFromText", "floatFromText", "booleanFromText", "bytesFromText", "dateTimeFromText", "dateFromText", "timeFromText", "compareDecimal", "isPlain"].join(", ")} } = runtime;
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
