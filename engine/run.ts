import type { Shape } from "./shape/shape.ts";
import type { Store } from "./store/table.ts";
export type Engine = { shape: Shape; openapi: unknown; createStore: () => Store };
export async function runAsProgram(_engine: Engine, _meta: ImportMeta): Promise<void> {}
