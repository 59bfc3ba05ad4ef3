import type { Of } from "./draft.ts";

/** What gateways are told of a writer: where it is, or why there is none. */

export const readyFrame = (state: Of<"ready">) => {
  const at = state.backend.lastIndexOf(":");
  const host = state.backend.slice(0, at).replace(/^\[|\]$/g, "");
  const tls = state.certificate === null ? null : { certificate: state.certificate };
  const endpoint = { host, port: Number(state.backend.slice(at + 1)), tls };
  return { kind: "ready" as const, term: state.term, endpoint };
};

export const failedFrame = (state: Of<"error">, now: number) => ({
  kind: "failed" as const,
  reason: state.code,
  message: state.message,
  retry_after_ms: Math.max(0, state.retry_at - now),
});
