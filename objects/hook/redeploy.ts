import type { DeploymentView } from "../../contract/deployment.ts";
import type { HookDelivery } from "../../contract/hook.ts";
import { checkManifest } from "../../contract/manifest-check.ts";
import { remote } from "../remote.ts";
import { imageFor, type Push } from "./push.ts";
import type { HookConfig } from "./record.ts";

export type Outcome = Pick<HookDelivery, "outcome" | "message" | "image" | "deployment_id">;

/** Once: which hook asks, and for which delivery. Asking again for the same one does nothing more. */
export type Asker = { hook: string; delivery: string };

/**
 * Applies the manifest that holds the name once more, with the image that was pushed. Throws when somebody else applied meanwhile, or an
 * object could not be reached; it is then tried again, with what holds the name by then.
 */
export async function redeploy(
  env: Pick<Env, "NAMESPACE" | "DEPLOYMENT">,
  config: HookConfig,
  push: Push,
  { hook, delivery }: Asker,
): Promise<Outcome> {
  const namespace = remote(env.NAMESPACE, config.namespace);
  const revision = (await namespace.revisions(config.deployment)).find(({ active }) => active);
  const holder = revision?.deployment_id ?? null;
  const cause = `hook ${hook} delivery ${delivery}`;
  const held = holder === null ? null : await remote(env.DEPLOYMENT, holder).peek();
  const outcome = (word: Outcome["outcome"], message: string, rest: Partial<Outcome> = {}): Outcome => ({
    outcome: word,
    message,
    image: null,
    deployment_id: holder,
    ...rest,
  });
  if (holder === null || held?.status === "deleted")
    return outcome("failed", `there is no deployment ${config.namespace}/${config.deployment}`);
  // The name is given to a deployment before that is made, and a crash may have come between the two.
  if (held === null) throw new Error(`${holder} has the name ${config.deployment}, and is yet to be made`);
  const wanted = imageFor(push, config, held.manifest.image ?? "");
  if ("ignored" in wanted) return outcome("ignored", wanted.ignored);
  const { image } = wanted;
  const done = `${config.deployment} is to run ${image}`;
  // A crash may have come before what this delivery did was noted.
  if (revision?.cause === cause) return outcome("applied", done, { image });
  if (image === held.manifest.image) return outcome("unchanged", `${image} is what it has already`, { image });
  const checked = checkManifest({ ...held.manifest, image });
  if (!checked.ok)
    return outcome("failed", checked.violations.map((v) => `${v.property_path}: ${v.message}`).join("; "), { image });
  const applied = await namespace.apply({
    manifest: checked.manifest,
    mutation: {
      actor: hook,
      request_id: `${hook}:${delivery}`,
      if_match: null,
      idempotency: { key: `${hook}:${delivery}`, fingerprint: image },
    },
    dryRun: false,
    cause,
    holder,
  });
  if (applied.ok) {
    const { id } = JSON.parse(applied.value.body) as DeploymentView;
    return outcome("applied", done, { image, deployment_id: id });
  }
  const { code, detail } = applied.refusal;
  // Another manifest came in between: what it says must not be undone by ours.
  if (code === "action_not_allowed" || code === "precondition_failed") throw new Error(detail);
  return outcome("failed", detail, { image });
}
