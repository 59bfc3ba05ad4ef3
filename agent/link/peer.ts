import { randomBytes } from "node:crypto";
import { open, seal } from "../../contract/envelope.ts";
import { type AgentBody, type AgentFrame, ControlFrame } from "../../contract/frame.ts";

/** Both ends of the link, and the keys by which they know each other. */
export type Peer = {
  hostId: string;
  bootId: string;
  /** The control plane's address, without a slash at its end. */
  url: string;
  privateKey: CryptoKey;
  controlKey: CryptoKey;
};

/** How a link ended: `removed` when the control plane no longer knows the host, `closed` when the agent wanted it. */
export type LinkEnd = "removed" | "closed";

export interface Link {
  readonly ended: Promise<LinkEnd>;
  close(): Promise<void>;
}

export const newNonce = (): string => randomBytes(16).toString("base64url");

/** The frame in a sealed message, or null when it is not signed by the control plane, not a frame, or for another host. Never throws. */
export async function readFrame(peer: Peer, text: string): Promise<ControlFrame | null> {
  const parsed = ControlFrame.safeParse(await open(peer.controlKey, text));
  return parsed.success && parsed.data.host_id === peer.hostId ? parsed.data : null;
}

export function sealFrame(
  peer: Peer,
  session: string,
  seq: number,
  body: AgentBody,
  nonce = newNonce(),
): Promise<string> {
  return seal(peer.privateKey, {
    host_id: peer.hostId,
    session,
    seq,
    at: Date.now(),
    nonce,
    body,
  } satisfies AgentFrame);
}

/** A sentence for the log when the control plane refuses the agent, with the usual cause if it shows. */
export function refusalHint(status: number, date: string | null | undefined): string {
  const theirs = date ? Date.parse(date) : Number.NaN;
  const seconds = Math.round((Date.now() - theirs) / 1000);
  const clock =
    Number.isNaN(theirs) || Math.abs(seconds) < 30
      ? "its clock and this host's agree"
      : `this host's clock is ${Math.abs(seconds)} s ${seconds > 0 ? "ahead of" : "behind"} the control plane's; set it right (NTP)`;
  return `the control plane refuses this host (HTTP ${status}; ${clock})`;
}
