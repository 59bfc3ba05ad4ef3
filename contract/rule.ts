import type { Manifest } from "./manifest.ts";

/**
 * What a manifest may not say, though every field is of the right type. Each rule has a stable code; those that Ring has keep Ring's
 * code. `find` answers the paths that break the rule, with the message; it sees a manifest whose badly typed fields have been set to
 * their defaults, so that all violations of a request are told at once.
 */
export type Rule = { code: string; find: (m: Manifest) => Finding[] };
export type Finding = readonly [path: string, message: string];

export const when = (broken: boolean, path: string, message: string): Finding[] => (broken ? [[path, message]] : []);
