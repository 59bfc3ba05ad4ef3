// What generated code calls by name.
export * from "./cell.ts";
export { OrderedRows } from "./ordered-rows.ts";
export * from "./render.ts";
