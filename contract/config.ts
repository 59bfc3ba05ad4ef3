import { z } from "zod";
import type { Violation } from "./problem.ts";
import { CONFIG_NAME, NAMESPACE_FIELD, nameViolations, sizeViolations } from "./resource-name.ts";

const data = z
  .string()
  .describe(
    "Any text up to 1 MiB. To be mounted or referred to, a JSON object of texts: its entries are what `key` picks",
  );
const labels = z.string().nullish().describe("Free text, up to 1,000 characters");

export const ConfigCreate = z.strictObject({ namespace: z.string(), name: z.string(), data, labels });
export type ConfigCreate = z.infer<typeof ConfigCreate>;

/** The name is the one that it has: it cannot be changed by it. */
export const ConfigUpdate = z.strictObject({ name: z.string().optional(), data, labels });
export type ConfigUpdate = z.infer<typeof ConfigUpdate>;

export const ConfigView = z.object({
  id: z.string(),
  created_at: z.iso.datetime(),
  updated_at: z.iso.datetime().nullable(),
  namespace: z.string(),
  name: z.string(),
  data: z.string(),
  labels: z.string().nullable(),
  revision: z.int(),
});
export type ConfigView = z.infer<typeof ConfigView>;

const LONGEST_LABELS = 1000;

const contentViolations = ({ data, labels }: ConfigUpdate): Violation[] => [
  ...sizeViolations("config", "data", data),
  ...(labels != null && labels.length > LONGEST_LABELS
    ? [
        {
          property_path: "labels",
          message: `expected up to ${LONGEST_LABELS} characters, got ${labels.length}`,
          code: "config.labels.length",
        },
      ]
    : []),
];

export const configViolations = (config: ConfigCreate): Violation[] => [
  ...nameViolations("config", "namespace", config.namespace, NAMESPACE_FIELD),
  ...nameViolations("config", "name", config.name, CONFIG_NAME),
  ...contentViolations(config),
];

/** A config that is put anew must be JSON; one that is made may be any text, as in Ring. */
export const configUpdateViolations = (config: ConfigUpdate): Violation[] => [
  ...contentViolations(config),
  ...(isJson(config.data)
    ? []
    : [{ property_path: "data", message: "expected JSON", code: "config.data.invalid_json" }]),
];

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** An entry of a config's data, or why it has none. */
export function configEntry(data: string, key: string): { text: string } | { fault: string } {
  let entries: unknown;
  try {
    entries = JSON.parse(data);
  } catch {
    return { fault: "its data is not JSON, so it has no entries" };
  }
  if (typeof entries !== "object" || entries === null || Array.isArray(entries))
    return { fault: "its data is not a JSON object, so it has no entries" };
  if (!Object.hasOwn(entries, key)) return { fault: `it has no entry '${key}'` };
  const text = (entries as Record<string, unknown>)[key];
  return typeof text === "string" ? { text } : { fault: `its entry '${key}' is not text` };
}
