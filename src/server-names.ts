/**
 * The names by which clients may ask gateways for a database (SNI), as the operator has set them: `GATEWAY_SERVER_NAMES`, separated by commas, `*.`
 * at the beginning standing for one label. None: any name. What cannot be a name is left in, and matches nobody: a slip must not open the door.
 */
export const serverNamesOf = (env: { GATEWAY_SERVER_NAMES?: string }): string[] =>
  (env.GATEWAY_SERVER_NAMES ?? "")
    .split(",")
    .map((name) => name.trim().toLowerCase().replace(/\.$/, ""))
    .filter((name) => name !== "");
