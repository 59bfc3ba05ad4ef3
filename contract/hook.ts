import { z } from "zod";

/** Who calls: a registry that took an image in, a forge that took a push in, or anybody who signs as Standard Webhooks has it. */
export const HOOK_SOURCES = ["registry", "github", "gitlab", "gitea", "generic"] as const;
export const HookSource = z.enum(HOOK_SOURCES);
export type HookSource = z.infer<typeof HookSource>;

/** Forges tell of commits, not of images: what is to run then is said by a template. */
export const FORGES: readonly HookSource[] = ["github", "gitlab", "gitea"];
export const PLACEHOLDERS = ["sha", "short_sha", "ref", "tag", "digest"] as const;

const Pattern = z.string().regex(/^[\x21-\x7e]{1,100}$/, "expected 1 to 100 printable characters; `*` stands for any");

export const HookCreate = z.strictObject({
  namespace: z.string().min(1).max(63).default("default"),
  deployment: z.string().min(1).max(63).describe("The name whose deployment gets the new image"),
  source: HookSource,
  secret: z
    .string()
    .regex(/^[\x21-\x7e]{16,200}$/, "expected 16 to 200 printable ASCII characters without spaces")
    .nullish()
    .describe("Drawn when left out"),
  image: z
    .string()
    .max(500)
    .nullish()
    .describe("Template such as `registry.example.com/web:{sha}`, with {sha}, {short_sha}, {ref}, {tag} or {digest}"),
  branches: z
    .array(Pattern)
    .max(50)
    .default([])
    .describe("Only pushes to these (`release/*`); none and no tags: the default branch"),
  tags: z.array(Pattern).max(50).default([]).describe("Only these tags (`v*`); of a registry: none means all"),
  description: z.string().max(500).default(""),
});
export type HookCreate = z.infer<typeof HookCreate>;

export const HookView = z.object({
  id: z.string(),
  namespace: z.string(),
  deployment: z.string(),
  source: HookSource,
  image: z.string().nullable(),
  branches: z.array(z.string()),
  tags: z.array(z.string()),
  description: z.string(),
  path: z.string().describe("Where to POST to, on this server"),
  created_at: z.iso.datetime(),
  revision: z.int(),
});
export type HookView = z.infer<typeof HookView>;

/** The one answer that carries the secret. */
export const HookCreated = HookView.extend({ url: z.string(), secret: z.string(), message: z.string() });
export type HookCreated = z.infer<typeof HookCreated>;

export const HOOK_OUTCOMES = ["pending", "applied", "unchanged", "ignored", "failed"] as const;

/** What came of one call. */
export const HookDelivery = z.object({
  id: z.string().describe("The caller's own id of the delivery; a digest of the body when it gave none"),
  at: z.iso.datetime(),
  outcome: z.enum(HOOK_OUTCOMES),
  message: z.string(),
  image: z.string().nullable(),
  deployment_id: z.string().nullable(),
});
export type HookDelivery = z.infer<typeof HookDelivery>;

/** What is wrong with a hook that no schema can say, or null. */
export function imageTemplateFault({ source, image }: Pick<HookCreate, "source" | "image">): string | null {
  if (image == null)
    return FORGES.includes(source) ? `a push to ${source} names no image: expected a template such as web:{sha}` : null;
  const unknown = [...image.matchAll(/\{([^}]*)\}/g)].find(
    ([, word]) => !(PLACEHOLDERS as readonly string[]).includes(word ?? ""),
  );
  if (unknown) return `${unknown[0]} is not known; there are ${PLACEHOLDERS.map((word) => `{${word}}`).join(", ")}`;
  if (!/\{\w+\}/.test(image)) return "expected at least one placeholder such as {sha}, else nothing would change";
  return /^[\w.:@/{}-]+$/.test(image) ? null : "expected the form of an image";
}
