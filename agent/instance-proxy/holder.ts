import { createHmac, timingSafeEqual } from "node:crypto";
import type { InstanceRoute } from "./message.ts";

const BEARER = /^Bearer rxk_([A-Za-z0-9_-]{1,64})\.([A-Za-z0-9_-]{43})$/i;

/** Whether a request shows a key of the instance. An engine looks again, at what the key is for; this is for what the proxy does by itself. */
export function isHolder(
  authorization: string | undefined,
  { key_secret, keys }: Pick<InstanceRoute, "key_secret" | "keys">,
  now: number,
): boolean {
  const [, id = "", mac = ""] = BEARER.exec(authorization ?? "") ?? [];
  if (key_secret === null || id === "") return false;
  const wanted = createHmac("sha256", key_secret).update(id).digest();
  const given = Buffer.from(mac, "base64url");
  if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) return false;
  const key = keys.find((one) => one.id === id);
  return key !== undefined && (key.expires_at === null || key.expires_at > now);
}

/** With which the engine tells whoever steers it how far it is. No key can be it: their ids have no space. */
export const adminToken = (keySecret: string, { workload_id, generation }: EngineName): string =>
  createHmac("sha256", keySecret).update(`admin ${workload_id} ${generation}`).digest("base64url");

type EngineName = { workload_id: string; generation: number };
