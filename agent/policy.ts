import { readFile, realpath } from "node:fs/promises";
import { basename, dirname, join, normalize } from "node:path";
import { z } from "zod";
import type { FailureKind, Workload } from "../contract/workload.ts";

/**
 * The host's own policy file (`policy.json` in the agent's data folder, or `--policy FILE`): what this host permits, whatever the control
 * plane asks for. A stolen control plane cannot go past it. An absent file means the defaults below; a file that does not parse stops the agent.
 */
export const PolicyFile = z.strictObject({
  /** Privileged containers, and processes of user 0. */
  privileged: z.boolean().default(false),
  host_network: z.boolean().default(false),
  /** Absolute path prefixes that may be bind-mounted. */
  host_mounts: z.array(z.string().startsWith("/")).default([]),
  /** Image name prefixes that may be run; empty permits all. */
  images: z.array(z.string()).default([]),
  /** Whether images may be pulled with the credentials of this host's own Docker config. */
  host_registry_auth: z.boolean().default(false),
});
export type PolicyFile = z.infer<typeof PolicyFile>;

export type Denial = { kind?: FailureKind; reason: string; message: string };

/** What the policy makes of a workload. A permitted one names each bind mount by its real path, so that what was checked is what is mounted. */
export type Verdict = { permitted: true; workload: Workload } | { permitted: false; denial: Denial };

/** The policy in `path`; the defaults when there is no such file. Throws a message for a person when it cannot be read or does not parse. */
export async function readPolicy(path: string): Promise<PolicyFile> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return PolicyFile.parse({});
    throw new Error(`The policy file ${path} cannot be read: ${(error as Error).message}`);
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new Error(`The policy file ${path} is not valid JSON: ${(error as Error).message}`);
  }
  const parsed = PolicyFile.safeParse(json);
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map((issue) => `${issue.path.join(".") || "(file)"}: ${issue.message}`);
  throw new Error(`The policy file ${path} is not valid: ${faults.join("; ")}`);
}

/**
 * Whether this host runs the workload. Paths are compared as they really are (`..` and symbolic links resolved as far as they exist), by whole
 * segments.
 */
export async function permit(
  workload: Workload,
  policy: PolicyFile,
  policyPath: string,
  resolve: (path: string) => Promise<string> = realPathOf,
): Promise<Verdict> {
  const { spec } = workload;
  const deny = (what: string, key: string, change: string): Verdict => ({
    permitted: false,
    denial: {
      reason: "policy_denied",
      message: `This host does not permit ${what} (policy key "${key}"). Its owner permits it with ${change} in ${policyPath} and a restart of the agent.`,
    },
  });

  if (spec.unreadable !== undefined) {
    const message = `The control plane could not open its secrets: ${spec.unreadable}.`;
    return { permitted: false, denial: { kind: "config_error", reason: "secret_unreadable", message } };
  }
  if (spec.use_host_auth === true && !policy.host_registry_auth) {
    return deny("pulling with its own credentials", "host_registry_auth", '"host_registry_auth": true');
  }
  if (spec.user.privileged && !policy.privileged) return deny("privileged mode", "privileged", '"privileged": true');
  const asRoot = spec.runtime === "process" && (spec.user.id === 0 || spec.user.group === 0);
  if (asRoot && !policy.privileged) {
    return deny("processes of user or group 0", "privileged", '"privileged": true');
  }
  if (spec.network === "host" && !policy.host_network) {
    return deny("the host's network", "host_network", '"host_network": true');
  }
  if (spec.image !== null && !imagePermitted(spec.image, policy.images)) {
    return deny(`the image ${spec.image}`, "images", "a matching prefix");
  }

  const prefixes = await Promise.all(policy.host_mounts.map((prefix) => resolve(normalize(prefix))));
  const mounts: typeof spec.mounts = [];
  for (const mount of spec.mounts) {
    if (mount.type !== "bind") {
      mounts.push(mount);
      continue;
    }
    if (!mount.source.startsWith("/"))
      return deny(`mounting the relative path ${mount.source}`, "host_mounts", "an absolute path");
    const real = await resolve(normalize(mount.source));
    if (!prefixes.some((prefix) => isWithin(real, prefix))) {
      const named = real === mount.source ? real : `${mount.source} (really ${real})`;
      return deny(`mounting ${named}`, "host_mounts", "a prefix of that path");
    }
    mounts.push({ ...mount, source: real });
  }
  return { permitted: true, workload: { ...workload, spec: { ...spec, mounts } } };
}

/** Whether `path` is `prefix` or lies below it; both absolute and normal. */
export function isWithin(path: string, prefix: string): boolean {
  const bare = prefix.length > 1 && prefix.endsWith("/") ? prefix.slice(0, -1) : prefix;
  return bare === "/" || path === bare || path.startsWith(`${bare}/`);
}

/** Whether an image name is under one of the prefixes, both in full (`nginx` is `docker.io/library/nginx`), ending at `/`, `:` or `@`. */
export function imagePermitted(image: string, prefixes: readonly string[]): boolean {
  if (prefixes.length === 0) return true;
  const full = fullImageName(image);
  return prefixes.some((prefix) => {
    const start = fullImageName(prefix);
    if (!full.startsWith(start)) return false;
    const next = full[start.length];
    return start.endsWith("/") || next === undefined || next === "/" || next === ":" || next === "@";
  });
}

function fullImageName(name: string): string {
  const slash = name.indexOf("/");
  // A prefix may be a server alone. A tag never looks like one: it has letters, or the name before the colon is not a host's.
  if (slash < 0 && /^(localhost|[^/:]*\.[^/:]*)(:\d+)?$/.test(name)) return name;
  if (slash < 0) return `docker.io/library/${name}`;
  const first = name.slice(0, slash);
  const isServer = first.includes(".") || first.includes(":") || first === "localhost";
  if (!isServer) return `docker.io/${name}`;
  const rest = name.slice(slash + 1);
  const isHub = first === "docker.io" || first === "index.docker.io";
  return isHub && rest !== "" && !rest.includes("/")
    ? `docker.io/library/${rest}`
    : name.replace(/^index\.docker\.io\//, "docker.io/");
}

/** The real path of what exists, with what does not exist yet appended to it. */
async function realPathOf(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch {
    const parent = dirname(path);
    return parent === path ? path : join(await realPathOf(parent), basename(path));
  }
}
