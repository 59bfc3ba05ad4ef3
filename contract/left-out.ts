/**
 * A field without a value is one that was left out: YAML has it so (`ports:`), and Ring's clients send null, and an empty namespace, for whatever
 * was not given. Names of labels and variables are the user's own, and are left as they are.
 */
const FREE: ReadonlySet<string> = new Set(["labels", "environment"]);

/** A deployment's manifest without what stands for nothing. */
export function asLeftOut(body: unknown): unknown {
  const written = withoutNulls(body);
  if (!isMap(written) || written.namespace !== "") return written;
  const { namespace: _empty, ...rest } = written;
  return rest;
}

function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (!isMap(value)) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, inner]) =>
      inner === null ? [] : [[key, FREE.has(key) ? inner : withoutNulls(inner)]],
    ),
  );
}

const isMap = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
