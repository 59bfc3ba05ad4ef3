import type { TokenCreated } from "../../contract/token.ts";
import type { Api } from "../api.ts";

/** A token that lets agents join, for the next few minutes. */
export async function joinTokenOf(api: Api, uses = 1): Promise<string> {
  const { text } = await api.post("/join-tokens", { body: { expires_in: "10m", uses } });
  return (JSON.parse(text) as TokenCreated).token;
}
