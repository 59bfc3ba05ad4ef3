/**
 * A sealed text, as it is stored and handed on: `lampseal1.<key id>.<what it is of>.<nonce and ciphertext>`, each part in characters that need no
 * escaping anywhere. It says itself which key opens it and what it was sealed as a value of, so that whoever holds texts with sealed ones
 * in them can seal those anew without knowing what they are for. `objects/sealing.ts` seals and opens.
 */
export type Sealed = string;

/** Finds every sealed text in a text. */
export const SEALED_PATTERN = /lampseal1\.([A-Za-z0-9-]{1,32})\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{38,})/g;
export const SEALED_PREFIX = "lampseal1.";

export const isSealed = (text: string): boolean => new RegExp(`^${SEALED_PATTERN.source}$`).test(text);
