import type { Document, Node } from "yaml";
import type { Source } from "./source.ts";

/** A part of a document that declares one thing, and what to call it. */
export type Draft = { source: Source; document: Document; node: Node | null; label: string };

/** A field without a value is one that was left out; labels may be a list of single-entry maps, as in Ring. */
export function asSent(written: Record<string, unknown>): Record<string, unknown> {
  const body = Object.fromEntries(Object.entries(written).filter(([, value]) => value !== null));
  const { labels } = body;
  if (Array.isArray(labels) && labels.every((one) => typeof one === "object" && one !== null && !Array.isArray(one))) {
    body.labels = Object.assign({}, ...labels);
  }
  return body;
}
