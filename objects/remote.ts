import type { Reply } from "../contract/problem.ts";

/** An object as its callers see it: its methods, each answering a promise of what it returns. */
export type Remote<T> = {
  [K in keyof T]: T[K] extends (...args: infer A) => infer R ? (...args: A) => Promise<Awaited<R>> : never;
};

/**
 * The object of this name. The cast is sound because every method here takes and answers plain data, which structured clone carries as it
 * is, or a byte stream; the runtime's own stub types drop members that they cannot prove to be so, such as the refusal of a Reply.
 */
export const remote = <T extends Rpc.DurableObjectBranded>(
  namespace: DurableObjectNamespace<T>,
  name: string,
): Remote<T> => namespace.getByName(name) as unknown as Remote<T>;

/** A copy: what came over RPC, handed on as it is, would hold both objects until it is collected. */
export const copied = <T extends object | null>(reply: Reply<T>): Reply<T> =>
  reply.ok ? { ok: true, value: reply.value && { ...reply.value } } : { ok: false, refusal: { ...reply.refusal } };
