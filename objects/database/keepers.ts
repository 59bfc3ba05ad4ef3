import type { KeeperAddress } from "../../contract/writer.ts";

/**
 * The keepers as the operator names them: `KEEPERS` is `name=url` several times, separated by commas, the token in the url's password, and the
 * fingerprint of its certificate behind a `#`. Throws a message for a person, without tokens, when it cannot be read.
 */
export function keepersOf(env: { KEEPERS?: string }): KeeperAddress[] {
  const text = env.KEEPERS?.trim() ?? "";
  if (text === "") return [];
  return text.split(",").map((part, i) => {
    const at = part.indexOf("=");
    const name = part.slice(0, at).trim();
    const url = parsed(part.slice(at + 1).trim());
    if (!/^[a-z][a-z0-9_]{0,30}$/.test(name) || url === null || url.password === "")
      throw new Error(`KEEPERS: entry ${i + 1} is not of the form name=https://:TOKEN@host:port#FINGERPRINT`);
    const token = decodeURIComponent(url.password);
    const fingerprint = url.hash.slice(1);
    if (fingerprint !== "" && (url.protocol !== "https:" || !/^[0-9a-f]{64}$/.test(fingerprint)))
      throw new Error(
        `KEEPERS: entry ${i + 1}: behind # goes the SHA-256 fingerprint of an https keeper, 64 hex digits`,
      );
    url.username = "";
    url.password = "";
    url.hash = "";
    const address = { name, url: url.href.replace(/\/$/, ""), token };
    return fingerprint === "" ? address : { ...address, fingerprint };
  });
}

function parsed(text: string): URL | null {
  try {
    return new URL(text);
  } catch {
    return null;
  }
}

/** How many of them acknowledge a commit: the operator's word, else most of them. */
export function quorumOf(env: { KEEPER_QUORUM?: string }, keepers: number): number {
  const asked = Number(env.KEEPER_QUORUM);
  return Number.isInteger(asked) && asked >= 1 && asked <= keepers
    ? asked
    : Math.floor(keepers / 2) + (keepers > 0 ? 1 : 0);
}
