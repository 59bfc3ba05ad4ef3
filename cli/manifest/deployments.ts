import { type Document, isMap, isNode, isSeq, type Node, type Pair } from "yaml";
import type { Manifest } from "../../contract/manifest.ts";
import { checkManifest } from "../../contract/manifest-check.ts";
import type { Violation } from "../../contract/problem.ts";
import { suggestion } from "../../contract/suggestion.ts";
import { Failure } from "../failure.ts";
import { configsOf, type DeclaredConfig, type DeclaredNamespace, namespacesOf } from "./configs.ts";
import { asSent, type Draft } from "./draft.ts";
import { type DeclaredSchedule, schedulesOf } from "./schedules.ts";
import type { Source } from "./source.ts";
import { withoutStrangers } from "./strangers.ts";

/** One deployment of a manifest file: what is sent, and where it stands, to tell what the server says about it. */
export type Declared = { body: Record<string, unknown>; manifest: Manifest; tell: (violation: Violation) => string };

export type Declarations = {
  namespaces: DeclaredNamespace[];
  configs: DeclaredConfig[];
  deployments: Declared[];
  schedules: DeclaredSchedule[];
  warnings: string[];
};

const SECTIONS = ["namespaces", "configs", "deployments", "schedules"];

/**
 * Everything that the files declare, checked. Throws one Failure with all violations of all documents.
 * @param strict a field that nobody knows is a violation too, also when it looks like no other
 */
export function declarations(sources: readonly Source[], strict = false): Declarations {
  const warnings: string[] = [];
  const problems: string[] = [];
  const drafts: Draft[] = [];
  const namespaces: DeclaredNamespace[] = [];
  const configs: DeclaredConfig[] = [];
  const schedules: DeclaredSchedule[] = [];
  for (const source of sources) {
    for (const document of source.documents) {
      const draft = { source, document, node: document.contents as Node | null, label: "" };
      if (document.contents === null || document.toJS() == null) continue;
      if (isSectioned(document)) {
        const faults = { problems, strange: strict ? problems : warnings };
        drafts.push(...sections(draft, faults.strange, problems));
        namespaces.push(...namespacesOf(entries(document, "namespaces"), draft, faults));
        configs.push(...configsOf(entries(document, "configs"), draft, faults));
        schedules.push(...schedulesOf(entries(document, "schedules"), draft, problems));
      } else drafts.push(draft);
    }
  }
  const deployments = drafts.flatMap((draft) => check(draft, strict, warnings, problems));
  problems.push(
    ...declaredTwice(deployments.map(({ manifest, tell }) => ({ ...manifest, tell }))),
    ...declaredTwice(configs.map(({ body, tell }) => ({ ...body, tell }))),
  );
  const files = sources.map((source) => source.name).join(", ");
  if (problems.length > 0) {
    const count = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
    throw new Failure(`${count} in ${files}; nothing was applied`, { details: problems });
  }
  if ([namespaces, configs, deployments, schedules].every((all) => all.length === 0)) {
    throw new Failure(`${files}: no deployment in it`, {
      hint: "Expected a deployment with a `name`, or a map `deployments` of them.",
    });
  }
  return { namespaces, configs, deployments, schedules, warnings };
}

const isSectioned = (document: Document): boolean =>
  isMap(document.contents) && SECTIONS.some((key) => document.has(key));

/** Ring's form: maps or lists of namespaces, configs and deployments. A map's keys are only labels. */
function sections({ source, document }: Draft, strange: string[], problems: string[]): Draft[] {
  const tell = (path: string, message: string, to = problems) =>
    to.push(`${source.at(source.locate(document, document.contents as Node, path, "key"))} ${path}: ${message}`);
  for (const key of Object.keys(document.toJS() as object)) {
    const near = suggestion(key, SECTIONS);
    if (!SECTIONS.includes(key)) tell(key, `unknown section${near}`, near === "" ? strange : problems);
  }
  return entries(document, "deployments").flatMap(({ path, node }): Draft[] => {
    if (isMap(node)) return [{ source, document, node, label: path }];
    tell(path, node === undefined ? "expected a map or a list" : "expected a deployment");
    return [];
  });
}

/** The members of a section with their paths; a single one without a node when the section is neither map nor list. */
function entries(document: Document, section: string): { path: string; node: Node | undefined }[] {
  const node = document.get(section, true);
  const child = (value: unknown) => (isNode(value) ? value : undefined);
  if (isMap(node))
    return node.items.map((pair: Pair) => ({
      path: `${section}.${String(pair.key)}`,
      node: child(pair.value) ?? (document.createNode(null) as Node),
    }));
  if (isSeq(node)) return node.items.map((item, index) => ({ path: `${section}[${index}]`, node: child(item) }));
  return node === undefined || document.getIn([section]) == null ? [] : [{ path: section, node: undefined }];
}

function check(
  { source, document, node, label }: Draft,
  strict: boolean,
  warnings: string[],
  problems: string[],
): Declared[] {
  const tell = (violation: Violation) => {
    const part = violation.code === "unknown_field" || violation.code.endsWith(".unsupported") ? "key" : "value";
    const place = source.locate(document, node, violation.property_path, part);
    const path = [label, violation.property_path].filter((text) => text !== "").join(".");
    return `${source.at(place)}${path === "" ? "" : ` ${path}`}: ${violation.message}`;
  };
  if (!isMap(node)) {
    problems.push(
      tell({ property_path: "", message: "expected a deployment: a map with a `name`", code: "invalid_type" }),
    );
    return [];
  }
  const { body, strangers } = withoutStrangers(asSent(node.toJS(document) as Record<string, unknown>), strict);
  warnings.push(...strangers.map((one) => `${tell(one)}; it is left out`));
  const checked = checkManifest(body);
  if (checked.ok) return [{ body, manifest: checked.manifest, tell }];
  problems.push(...checked.violations.map(tell));
  return [];
}

type Placed = { namespace: string; name: string; tell: (violation: Violation) => string };

function declaredTwice(declared: readonly Placed[]): string[] {
  const seen = new Set<string>();
  return declared.flatMap(({ namespace, name, tell }) => {
    const key = `${namespace}/${name}`;
    if (!seen.has(key)) {
      seen.add(key);
      return [];
    }
    return [tell({ property_path: "name", message: `${key} is declared twice`, code: "duplicate" })];
  });
}
