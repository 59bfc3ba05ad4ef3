import { z } from "zod";

/** The prefix of each kind of id. An id is `<prefix>_<26 characters>`, sorts by the time it was made, and is never used again. */
export const ID_PREFIX = {
  deployment: "dep",
  schedule: "sched",
  namespace: "ns",
  config: "cfg",
  secret: "sec",
  volume: "vol",
  database: "db",
  credential: "cred",
  webhook: "whk",
  hook: "hook",
  instance: "inst",
  connection: "conn",
  build: "bld",
  operation: "op",
  key: "key",
  user: "usr",
  host: "host",
  token: "tok",
  request: "req",
} as const;

export type IdKind = keyof typeof ID_PREFIX;

export const ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz";

/** A ULID in lower case: 48 bits of milliseconds, then 80 random bits, Crockford's base 32. */
export function ulid(now: number, random: Uint8Array = crypto.getRandomValues(new Uint8Array(10))): string {
  let time = now;
  let head = "";
  for (let i = 0; i < 10; i++) {
    head = ID_ALPHABET[time % 32] + head;
    time = Math.floor(time / 32);
  }
  let tail = "";
  let bits = 0;
  let held = 0;
  for (const byte of random.subarray(0, 10)) {
    held = (held << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      tail += ID_ALPHABET[(held >> bits) & 31];
    }
    held &= (1 << bits) - 1;
  }
  return head + tail;
}

export const newId = (kind: IdKind, now: number): string => `${ID_PREFIX[kind]}_${ulid(now)}`;

/** When an id was made, ms since 1970. */
export const madeAt = (id: string): number =>
  [...id.slice(id.indexOf("_") + 1).slice(0, 10)].reduce((time, char) => time * 32 + ID_ALPHABET.indexOf(char), 0);

const idOf = (kind: IdKind) =>
  z
    .string()
    .regex(
      new RegExp(`^${ID_PREFIX[kind]}_[0-9a-hjkmnp-tv-z]{26}$`),
      `expected an id of the form ${ID_PREFIX[kind]}_…`,
    );

export const DeploymentId = idOf("deployment");
export const ScheduleId = idOf("schedule");
export const NamespaceId = idOf("namespace");
export const ConfigId = idOf("config");
export const SecretId = idOf("secret");
export const VolumeId = idOf("volume");
export const DatabaseId = idOf("database");
export const WebhookId = idOf("webhook");
export const HookId = idOf("hook");
export const InstanceId = idOf("instance");
export const ConnectionId = idOf("connection");
export const KeyId = idOf("key");
export const BuildId = idOf("build");
export const UserId = idOf("user");
export const HostId = idOf("host");
export const TokenId = idOf("token");

/**
 * The id of one replica's place in its deployment. It stays while the deployment lives; what runs there is told apart by generation.
 */
export const workloadId = (deploymentId: string, slot: number): string => `${deploymentId}-${slot}`;

export const isDatabaseId = (id: string): boolean => id.startsWith(`${ID_PREFIX.database}_`);

/** The id of one instance: one generation of one workload. */
export const instanceId = (workload: string, generation: number): string => `${workload}-g${generation}`;

/** Whose a workload is, and its slot there; null when the id names none. A database has one slot, for its writer. */
export function parseWorkloadId(id: string): { owner: string; slot: number } | null {
  const match = /^([a-z]+_[0-9a-z]{26})-(\d+)$/.exec(id);
  return match ? { owner: match[1] as string, slot: Number(match[2]) } : null;
}
