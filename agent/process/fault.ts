import type { FailureKind } from "../../contract/workload.ts";

/** Why a program cannot be run here, in words that name the field. */
export type Fault = { kind: FailureKind; reason: string; message: string };

export const fault = (reason: string, message: string, kind: FailureKind = "create_container_error"): Fault => ({
  kind,
  reason,
  message,
});
