import { CLOCK_TOLERANCE_MS, fromBase64Url, generateKeyPair, importPublicKey } from "../../contract/envelope.ts";
import type { Entry } from "../../contract/event.ts";
import { type EnrolAnswer, type EnrolRequest, enrolProofText } from "../../contract/frame.ts";
import { accept, type Reply, refuse } from "../../contract/problem.ts";
import { joining } from "./decide.ts";
import { type HostIdentity, UNKNOWN_PROFILE } from "./record.ts";

export type Enrolment = {
  id: string;
  request: EnrolRequest;
  labels: Record<string, string>;
  actor: string;
  request_id: string;
};

/** Checks that the agent holds the key that it names, and draws the key pair with which this host's object will sign. */
export async function identify({ id, request, labels }: Enrolment, now: number): Promise<Reply<HostIdentity>> {
  if (Math.abs(now - request.at) > CLOCK_TOLERANCE_MS) {
    const off = Math.round((request.at - now) / 1000);
    return invalid(
      "at",
      `expected the present time within ${CLOCK_TOLERANCE_MS / 1000} s; the host's clock is off by ${off} s`,
      "host.clock_off",
    );
  }
  if (request.transport === "call" && request.endpoint == null)
    return invalid("endpoint", "required with the call transport", "required");
  if (!(await proven(request))) return invalid("proof", "expected a signature by public_key", "host.proof_invalid");
  const control = await generateKeyPair();
  return accept({
    id,
    name: request.name,
    created_at: now,
    public_key: request.public_key,
    control_public_key: control.publicKey,
    control_private_key: control.privateKey,
    transport: request.transport,
    endpoint: request.endpoint ?? null,
    // The join token's labels are the operator's word, and win over what the host says of itself.
    labels: { ...request.labels, ...labels },
  });
}

async function proven({ public_key, name, at, proof }: EnrolRequest): Promise<boolean> {
  try {
    const key = await importPublicKey(public_key);
    return await crypto.subtle.verify(
      "Ed25519",
      key,
      fromBase64Url(proof),
      new TextEncoder().encode(enrolProofText(name, at)),
    );
  } catch {
    return false;
  }
}

export function insert(sql: SqlStorage, identity: HostIdentity, now: number): void {
  const state = joining();
  sql.exec(
    "INSERT INTO host (one, status, state, identity, profile, revision, updated_at) VALUES (1, ?, ?, ?, ?, 1, ?)",
    state.status,
    JSON.stringify(state),
    JSON.stringify(identity),
    JSON.stringify(UNKNOWN_PROFILE),
    now,
  );
}

export const enrolAnswer = (identity: HostIdentity): string =>
  JSON.stringify({ host_id: identity.id, control_public_key: identity.control_public_key } satisfies EnrolAnswer);

const invalid = (property_path: string, message: string, code: string): Reply<never> =>
  refuse("validation_failed", `${property_path}: ${message}`, { violations: [{ property_path, message, code }] });

export const enrolledEntry = (name: string): Entry => ({
  level: "info",
  component: "api",
  reason: "host_enrolled",
  message: `enrolled as ${name}`,
});
