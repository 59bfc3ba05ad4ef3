import { z } from "zod";
import type { Violation } from "./problem.ts";
import { NAMESPACE_NAME, nameViolations } from "./resource-name.ts";

/** The one that is always there. */
export const DEFAULT_NAMESPACE = "default";

export const NamespaceCreate = z.strictObject({ name: z.string() });
export type NamespaceCreate = z.infer<typeof NamespaceCreate>;

export const namespaceViolations = ({ name }: NamespaceCreate): Violation[] =>
  nameViolations("namespace", "name", name, NAMESPACE_NAME);

export const NamespaceView = z.object({
  id: z.string(),
  created_at: z.iso.datetime(),
  updated_at: z.string().describe("Always empty: a namespace does not change"),
  name: z.string(),
  revision: z.int(),
});
export type NamespaceView = z.infer<typeof NamespaceView>;
