import type { DatabaseState, Wake } from "../../contract/database-state.ts";
import type { GatewayFrame, LeaseFrame } from "../../contract/gateway.ts";
import type { DatabaseEvent } from "./decide.ts";
import { failedFrame, readyFrame } from "./frames.ts";
import { granted } from "./line.ts";
import { preparing } from "./preparation.ts";

type LeaseSaid = Extract<GatewayFrame, { kind: "lease" }>;

/** What a gateway is answered that says how things are with it: whatever it does not know yet. */
export function answersTo(said: LeaseSaid, state: DatabaseState | null, now: number): LeaseFrame[] {
  if (state === null || state.status === "deleting")
    return [{ kind: "revoked", message: "there is no such database any more" }];
  return [granted(said.seq), ...standing(said, state, now)];
}

function standing(said: LeaseSaid, state: DatabaseState, now: number): LeaseFrame[] {
  switch (state.status) {
    case "ready":
      // While it is being asked whether anybody is there, nobody who asks for nothing is told to come in.
      if (said.term === state.term) return [];
      return (state.quiesce !== null || state.closing !== null) && !said.wake ? [] : [readyFrame(state)];
    case "creating":
      return said.wake ? [{ kind: "waking", phase: "preparing", message: preparing(state) }] : [];
    case "booting":
      return said.wake ? [{ kind: "waking", phase: state.step.name, message: state.message }] : [];
    case "error":
      if (said.wake) return [failedFrame(state, now)];
      return gone(said, state);
    default:
      return gone(said, state);
  }
}

/** Whatever it thinks that there is has gone. */
const gone = ({ term }: LeaseSaid, state: DatabaseState): LeaseFrame[] =>
  term === null ? [] : [{ kind: "stopped", term: Math.max(1, Math.min(term, state.term)) }];

export function eventOf(bootId: string, frame: GatewayFrame, now: number): DatabaseEvent {
  if (frame.kind === "quiet") return { type: "quiet", boot_id: bootId, stop: frame.stop, quiet: frame.quiet };
  return frame.kind === "lease" && frame.wake ? { type: "wake", wake: wakeOf(frame, now) } : { type: "demand" };
}

/** One that was restored is started at once: the moment that it is to be of may not be kept for long. */
export const restoreWake = (at: number): Wake => ({ at, cause: "restore", gateway: null, client: null });

/** Who woke it: the client that waits the longest. */
function wakeOf({ gateway, clients }: LeaseSaid, now: number): Wake {
  const first = clients.filter(({ phase }) => phase === "waiting").sort((a, b) => a.since - b.since)[0] ?? clients[0];
  const client = first ? { address: first.address, application_name: first.application_name } : null;
  return { at: now, cause: "connection", gateway, client };
}
