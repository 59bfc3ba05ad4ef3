import { ID_ALPHABET, type IdKind, newId } from "../contract/id.ts";
import { ALL_NAMESPACE_SHARDS, shardOf } from "./projection.ts";

/**
 * Ids of what lives in a NamespaceObject. The object is named by its namespace, which an id does not hold; the lists know it. So that only one
 * of them has to be asked, the id's first random character says which: five bits, the lower three of them the number of the IndexObject.
 */
const FIRST_RANDOM = 10;

export function namespacedId(kind: IdKind, namespace: string, now: number): string {
  const id = newId(kind, now);
  const at = id.indexOf("_") + 1 + FIRST_RANDOM;
  const drawn = ID_ALPHABET.indexOf(id[at] as string);
  const number = (drawn & ~7) | ALL_NAMESPACE_SHARDS.indexOf(shardOf(namespace));
  return id.slice(0, at) + ID_ALPHABET[number] + id.slice(at + 1);
}

/** The IndexObject that lists it, if anything has this id. */
export const shardOfId = (id: string): string =>
  ALL_NAMESPACE_SHARDS[ID_ALPHABET.indexOf(id[id.indexOf("_") + 1 + FIRST_RANDOM] as string) & 7] as string;
