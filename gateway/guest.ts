import type { Endpoint, GatewayClient } from "../contract/gateway.ts";
import type { Refusal } from "./refusal.ts";

/** A client that uses the database, or waits to. */
export type Guest = {
  describe(): GatewayClient;
  /** Told when its session has to end. */
  end(why: Refusal): void;
  /** What the control plane says about the start that it waits for. */
  progress(message: string): void;
};

/** Leave to connect to PostgreSQL. It counts as a session until `leave`. */
export type Grant = {
  term: number;
  endpoint: Endpoint;
  /** No newer writer has been heard of since. */
  current(): boolean;
  /** The control plane cannot be asked whether that is still so. */
  unconfirmed: boolean;
  leave(): void;
};
