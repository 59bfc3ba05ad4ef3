import { z } from "zod";
import type { Violation } from "./problem.ts";
import { NAMESPACE_FIELD, nameViolations, SECRET_NAME, sizeViolations } from "./resource-name.ts";

const value = z.string().describe("Up to 1 MiB of text. Write-only: never answered");

export const SecretCreate = z.strictObject({ namespace: z.string(), name: z.string(), value });
export type SecretCreate = z.infer<typeof SecretCreate>;

export const SecretUpdate = z.strictObject({ value });
export type SecretUpdate = z.infer<typeof SecretUpdate>;

export const SecretView = z.object({
  id: z.string(),
  created_at: z.iso.datetime(),
  updated_at: z.iso.datetime().nullable().describe("When its value was last put anew"),
  namespace: z.string(),
  name: z.string(),
  revision: z.int(),
});
export type SecretView = z.infer<typeof SecretView>;

export const secretViolations = (secret: SecretCreate): Violation[] => [
  ...nameViolations("secret", "namespace", secret.namespace, NAMESPACE_FIELD),
  ...nameViolations("secret", "name", secret.name, SECRET_NAME),
  ...sizeViolations("secret", "value", secret.value),
];

export const secretUpdateViolations = ({ value }: SecretUpdate): Violation[] =>
  sizeViolations("secret", "value", value);

/** What came of sealing a part of everything anew. */
export const ResealReport = z.object({
  key: z.string().describe("The id of the newest key, which seals"),
  resealed: z.int().describe("How many values were sealed anew in this part"),
  left: z
    .record(z.string(), z.int())
    .describe(
      "By older key: values in this part that it alone still opens. Zero in every part: it is no longer needed",
    ),
  next: z.string().nullable().describe("Send it as `cursor` for the next part; null after the last"),
});
export type ResealReport = z.infer<typeof ResealReport>;
