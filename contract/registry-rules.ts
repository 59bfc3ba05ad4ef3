import type { Manifest } from "./manifest.ts";
import { type Rule, when } from "./rule.ts";
import { PullPolicy } from "./workload.ts";

const inline = (m: Manifest): boolean =>
  m.config?.username != null || m.config?.password != null || m.config?.server != null;

/** Where an image comes from, and with which credentials. */
export const REGISTRY_RULES: readonly Rule[] = [
  {
    code: "deployment.config.image_pull_policy.unsupported",
    find: (m) => {
      const policy = m.config?.image_pull_policy;
      return when(
        policy !== undefined && !PullPolicy.safeParse(policy).success,
        "config.image_pull_policy",
        `expected ${PullPolicy.options.join(", ")}, got "${policy}"`,
      );
    },
  },
  {
    code: "deployment.config.credentials.incomplete",
    find: (m) =>
      when(
        (m.config?.username == null) !== (m.config?.password == null),
        "config",
        "a registry needs both `username` and `password`",
      ),
  },
  {
    code: "deployment.config.use_host_auth.conflict",
    find: (m) =>
      when(
        m.config?.use_host_auth === true && inline(m),
        "config.use_host_auth",
        "either the host's own credentials or `server`, `username` and `password`, not both",
      ),
  },
  {
    code: "deployment.config.image_pull_secret.conflict",
    find: (m) =>
      when(
        m.config?.image_pull_secret != null && (inline(m) || m.config.use_host_auth === true),
        "config.image_pull_secret",
        "either a secret, or the host's own credentials, or `server`, `username` and `password`",
      ),
  },
  {
    code: "deployment.config.image_pull_secret.empty",
    find: (m) =>
      when(m.config?.image_pull_secret?.trim() === "", "config.image_pull_secret", "expected the name of a secret"),
  },
  {
    code: "deployment.config.credentials.process_unsupported",
    find: (m) =>
      when(
        m.runtime === "process" && (m.config?.image_pull_secret != null || m.config?.use_host_auth === true),
        "config",
        "the process runtime pulls nothing; leave `image_pull_secret` and `use_host_auth` out",
      ),
  },
];
