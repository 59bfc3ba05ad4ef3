import type { StartupPacket } from "../postgres/wire/startup.ts";
import type { CancelKeys } from "./cancel.ts";
import type { Certificate } from "./certificate.ts";
import type { Counters } from "./counters.ts";
import type { Databases } from "./databases.ts";
import type { Lookups } from "./lookups.ts";
import type { Throttle } from "./throttle.ts";

/** What all clients of a gateway use. */
export type House = {
  certificate: Certificate | null;
  tlsRequired: boolean;
  lookups: Lookups;
  databases: Databases;
  cancelKeys: CancelKeys;
  throttle: Throttle;
  counters: Counters;
  /** For everything up to a good password. */
  loginMs: number;
  /** For the start of the database. */
  holdMs: number;
  /** Until a client that waits is told so, and then each time that there is news. */
  noticeMs: number;
  log: (line: string) => void;
};

export type Startup = Extract<StartupPacket, { kind: "startup" }>;
