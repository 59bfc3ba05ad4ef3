import type { GatewayFrame, LeaseFrame, Lookup, LookupQuestion } from "../contract/gateway.ts";

/** What a gateway knows of the control plane. */
export interface DatabaseDirectory {
  /** Throws when there is no answer; a pair that does not exist has one. */
  lookup(question: LookupQuestion): Promise<Lookup>;
  /** Opens the conversation about one database, and opens it again whenever it is cut, until it is closed. */
  converse(databaseId: string, ear: LeaseEar): LeaseLine;
  close(): Promise<void>;
}

export type LeaseEar = {
  heard(frame: LeaseFrame): void;
  /** The line is up, for the first time or again: nothing that was sent before may have arrived. */
  up(): void;
};

export interface LeaseLine {
  /** Not kept while the line is down: what is said then is said again by `up`. */
  send(frame: GatewayFrame): void;
  close(): void;
}
