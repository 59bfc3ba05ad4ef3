import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { isMap, isScalar, type Node, type YAMLMap } from "yaml";
import { type ConfigCreate, configViolations } from "../../contract/config.ts";
import { DEFAULT_NAMESPACE, namespaceViolations } from "../../contract/namespace.ts";
import type { Violation } from "../../contract/problem.ts";
import { suggestion } from "../../contract/suggestion.ts";
import { asSent, type Draft } from "./draft.ts";

type Entry = { path: string; node: Node | undefined };
/** Where what is wrong goes: what must be mended, and what is only left out. */
type Faults = { problems: string[]; strange: string[] };

/** One namespace of a manifest file. */
export type DeclaredNamespace = { name: string };
/** One config of a manifest file, with the data that its files and variables came to. */
export type DeclaredConfig = { body: ConfigCreate; tell: (violation: Violation) => string };

const CONFIG_FIELDS = ["namespace", "name", "data", "files", "interpolate", "labels"];

export function namespacesOf(entries: readonly Entry[], draft: Draft, faults: Faults): DeclaredNamespace[] {
  return entries.flatMap(({ path, node }) => {
    const tell = teller(draft, { path, node });
    const name = isMap(node) ? node.get("name") : undefined;
    if (!isMap(node) || typeof name !== "string") {
      faults.problems.push(tell(wrong("", "expected a namespace with a name")));
      return [];
    }
    tellStrangers(node, ["name"], tell, faults);
    const violations = namespaceViolations({ name });
    faults.problems.push(...violations.map(tell));
    return violations.length === 0 ? [{ name }] : [];
  });
}

export function configsOf(entries: readonly Entry[], draft: Draft, faults: Faults): DeclaredConfig[] {
  return entries.flatMap(({ path, node }) => {
    const tell = teller(draft, { path, node });
    if (!isMap(node)) {
      faults.problems.push(tell(wrong("", "expected a config: a map with a `name`")));
      return [];
    }
    tellStrangers(node, CONFIG_FIELDS, tell, faults);
    const violations: Violation[] = [];
    const fields = asSent(node.toJS(draft.document) as Record<string, unknown>);
    const text = (field: string): string | undefined => {
      const value = fields[field];
      if (value === undefined || typeof value === "string") return value;
      violations.push(wrong(field, "expected text"));
      return undefined;
    };
    const name = text("name");
    if (name === undefined && fields.name === undefined) violations.push(wrong("name", "required"));
    const labels = text("labels");
    const namespace = text("namespace") || DEFAULT_NAMESPACE;
    const data = dataOf(node, fields, draft, violations);
    if (violations.length === 0) violations.push(...configViolations({ namespace, name: name ?? "", data, labels }));
    faults.problems.push(...violations.map(tell));
    return violations.length === 0 ? [{ body: { namespace, name: name ?? "", data, labels }, tell }] : [];
  });
}

/**
 * What is in a config: its `data` (JSON as text, or a map of texts) and its `files`, read from beside the manifest. Variables are put into what
 * stands in the manifest and not into what is read from files, unless `interpolate` says otherwise for both.
 */
function dataOf(node: YAMLMap, fields: Record<string, unknown>, { source }: Draft, violations: Violation[]): string {
  const { files, interpolate } = fields;
  if (interpolate !== undefined && typeof interpolate !== "boolean")
    violations.push(wrong("interpolate", "expected true or false"));
  const inline = inlineData(node, interpolate === false ? (one) => source.written(one) : (one) => one.value);
  if (inline === null) violations.push(wrong("data", "expected text, or a map of texts"));
  if (files === undefined) {
    if (inline === undefined) violations.push(wrong("", "expected `data`, or `files`, or both"));
    return typeof inline === "string" ? inline : JSON.stringify(inline ?? {});
  }
  const entries = typeof inline === "string" ? entriesOf(inline, violations) : { ...inline };
  if (typeof files !== "object" || files === null || Array.isArray(files)) {
    violations.push(wrong("files", "expected a map of names to paths"));
    return "";
  }
  for (const [key, path] of Object.entries(files)) {
    const at = `files.${key}`;
    if (Object.hasOwn(entries, key)) violations.push(wrong(at, `the entry '${key}' is in \`data\` too`));
    else if (typeof path !== "string") violations.push(wrong(at, "expected a path"));
    else entries[key] = fileText(resolve(source.folder, path), (why) => violations.push(wrong(at, why)));
    if (interpolate === true) entries[key] = source.filled(entries[key] ?? "");
  }
  return JSON.stringify(entries);
}

type Read = (scalar: { value: unknown }) => unknown;

/** `data` as it stands there: undefined when it does not, null when it is neither text nor texts. */
function inlineData(node: YAMLMap, read: Read): string | Record<string, string> | undefined | null {
  const data = node.get("data", true) as Node | undefined;
  if (data === undefined || (isScalar(data) && data.value === null)) return undefined;
  if (isScalar(data)) {
    const text = read(data);
    return typeof text === "string" ? text : null;
  }
  if (!isMap(data)) return null;
  const entries: Record<string, string> = {};
  for (const { key, value } of data.items) {
    const text = isScalar(value) ? read(value) : null;
    if (typeof text !== "string") return null;
    entries[String(isScalar(key) ? key.value : key)] = text;
  }
  return entries;
}

function entriesOf(data: string, violations: Violation[]): Record<string, string> {
  try {
    const entries: unknown = JSON.parse(data);
    if (typeof entries === "object" && entries !== null && !Array.isArray(entries))
      return { ...(entries as Record<string, string>) };
  } catch {
    // Told below, like any other text that has no entries.
  }
  violations.push(wrong("data", "with `files`, expected a JSON object of entries"));
  return {};
}

function fileText(path: string, unreadable: (why: string) => void): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    unreadable(`cannot read ${path}: ${code === "ENOENT" ? "no such file" : (code ?? "unreadable")}`);
    return "";
  }
}

function tellStrangers(node: YAMLMap, known: readonly string[], tell: (v: Violation) => string, faults: Faults): void {
  for (const { key } of node.items) {
    const field = String(isScalar(key) ? key.value : key);
    if (known.includes(field)) continue;
    const near = suggestion(field, known);
    if (near === "") faults.strange.push(`${tell(unknown(field, near))}; it is left out`);
    else faults.problems.push(tell(unknown(field, near)));
  }
}

const wrong = (property_path: string, message: string): Violation => ({ property_path, message, code: "invalid" });
const unknown = (property_path: string, near: string): Violation => ({
  property_path,
  message: `unknown field${near}`,
  code: "unknown_field",
});

function teller({ source, document }: Draft, { path, node }: Entry): (violation: Violation) => string {
  return ({ property_path, message, code }) => {
    const place = source.locate(document, node ?? null, property_path, code === "unknown_field" ? "key" : "value");
    return `${source.at(place)} ${[path, property_path].filter((text) => text !== "").join(".")}: ${message}`;
  };
}
