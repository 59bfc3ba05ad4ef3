import type { Violation } from "./problem.ts";

/** What the name of one kind of resource may be. Ring's, whose codes a name that is none trips: `<noun>.<field>.length` and `.format`. */
export type NameRule = { least: number; most: number; form: RegExp; expected: string };

export const NAMESPACE_NAME: NameRule = {
  least: 2,
  most: 63,
  form: /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/,
  expected: "lower-case letters, digits or `-`, starting and ending with a letter or digit",
};
/** A namespace where something is put: one of a single letter may be there already. */
export const NAMESPACE_FIELD: NameRule = { ...NAMESPACE_NAME, least: 1 };
export const CONFIG_NAME: NameRule = {
  least: 1,
  most: 253,
  form: /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/,
  expected: "lower-case letters, digits, `-` or `.`, starting and ending with a letter or digit",
};
export const SECRET_NAME: NameRule = {
  least: 2,
  most: 253,
  form: /^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/,
  expected: "letters, digits, `-`, `_` or `.`, starting and ending with a letter or digit",
};
export const VOLUME_NAME: NameRule = {
  least: 2,
  most: 253,
  form: /^[a-z0-9]([-a-z0-9_.]*[a-z0-9])?$/,
  expected: "lower-case letters, digits, `-`, `_` or `.`, starting and ending with a letter or digit",
};

export function nameViolations(noun: string, field: string, name: string, rule: NameRule): Violation[] {
  const violations: Violation[] = [];
  if (name.length < rule.least || name.length > rule.most)
    violations.push({
      property_path: field,
      message: `expected ${rule.least} to ${rule.most} characters, got ${name.length}`,
      code: `${noun}.${field}.length`,
    });
  // A name that is too short breaks the form too in Ring, whose forms ask for two characters.
  if (!rule.form.test(name) || (name.length < rule.least && name.length < 2))
    violations.push({
      property_path: field,
      message: `expected ${rule.expected}`,
      code: `${noun}.${field}.format`,
    });
  return violations;
}

export const isName = (name: string, rule: NameRule): boolean => nameViolations("", "", name, rule).length === 0;

const encoder = new TextEncoder();
export const LARGEST_VALUE = 1_048_576;

/** Between 1 byte and 1 MiB. */
export function sizeViolations(noun: string, field: string, text: string): Violation[] {
  const size = encoder.encode(text).length;
  return size >= 1 && size <= LARGEST_VALUE
    ? []
    : [
        {
          property_path: field,
          message: `expected 1 to ${LARGEST_VALUE.toLocaleString("en")} bytes, got ${size.toLocaleString("en")}`,
          code: `${noun}.${field}.length`,
        },
      ];
}
