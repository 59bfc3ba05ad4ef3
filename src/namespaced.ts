import type { z } from "zod";
import type { Violation } from "../contract/problem.ts";
import { holds, type Principal, permits } from "../contract/scope.ts";
import type { NamespaceObject } from "../objects/namespace/object.ts";
import type { ResourceKind } from "../objects/namespace/resource.ts";
import { shardOfId } from "../objects/namespaced-id.ts";
import { type Remote, remote } from "../objects/remote.ts";
import { fail } from "./problem.ts";
import type { Ask } from "./route.ts";
import { call } from "./stub.ts";
import { checkBody } from "./violations.ts";

/** What routes of resources that live in a namespace have in common. */

/** The namespace is looked at before anything else about the body, so that a token learns nothing about namespaces that are not its own. */
export function permitNamespace(body: unknown, principal: Principal): void {
  const namespace = (body as { namespace?: unknown } | null)?.namespace || "default";
  if (typeof namespace === "string" && !permits(principal, namespace)) foreignNamespace(namespace);
}

/** Leaves with what a token is told of a namespace that it is not for. */
export function foreignNamespace(namespace: string): never {
  const name = namespace.slice(0, 100);
  return fail("namespace_not_permitted", `This token is not for the namespace ${JSON.stringify(name)}.`, {
    more: { namespace: name },
  });
}

/** Whether the namespace may be brought about by what is put there. A token that names it was made for it, whether it was there yet or not. */
export const mayCreateNamespace = (principal: Principal, namespace: string): boolean =>
  holds(principal, "namespaces:write") || principal.namespaces.includes(namespace);

export const inNamespace = <T>(
  env: Env,
  namespace: string,
  use: (object: Remote<NamespaceObject>) => Promise<T>,
): Promise<T> => call(() => remote(env.NAMESPACE, namespace), use);

/**
 * The namespace of the resource in the path. The lists know it, also right after the resource was made: its making is answered only when they
 * do. What the token may not see is answered like what does not exist.
 */
export async function namespaceOf(ask: Ask, kind: ResourceKind | "namespace"): Promise<string> {
  const id = ask.params.id as string;
  const namespace = await call(
    () => remote(ask.env.INDEX, shardOfId(id)),
    (index) => index.namespaceOf(kind, id),
  );
  if (namespace === null || !permits(ask.principal, namespace)) fail("not_found", `There is no ${kind} ${id}.`);
  return namespace;
}

/**
 * A body by its schema, then by what no schema can say: all violations at once.
 * @param partly what can be said of the rest of a body that is not as the schema has it
 */
export const checkedBy =
  <T>(
    schema: z.ZodType<T>,
    violationsOf: (value: T) => Violation[],
    partly: (body: unknown) => Violation[] = () => [],
  ) =>
  (value: unknown): { ok: true; value: T } | { ok: false; violations: Violation[] } => {
    const checked = checkBody(schema, value);
    if (!checked.ok) return { ok: false, violations: [...checked.violations, ...partly(value)] };
    const violations = violationsOf(checked.value);
    return violations.length > 0 ? { ok: false, violations } : checked;
  };
