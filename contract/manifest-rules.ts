import { z } from "zod";
import { MANIFEST_FIELDS, Manifest } from "./manifest.ts";
import type { Violation } from "./problem.ts";
import { parseCpu, parseDuration, parseMemory } from "./quantity.ts";
import { PullPolicy, RUNTIMES } from "./workload.ts";

/**
 * What a manifest may not say, though every field is of the right type. Each rule has a stable code; those that Ring has keep Ring's
 * code. `find` answers the paths that break the rule, with the message; it sees a manifest whose badly typed fields have been set to
 * their defaults, so that all violations of a request are told at once.
 */
type Rule = { code: string; find: (m: Manifest) => Finding[] };
type Finding = readonly [path: string, message: string];

const when = (broken: boolean, path: string, message: string): Finding[] => (broken ? [[path, message]] : []);
const replicated = (m: Manifest) => m.replicas > 1;
const container = (m: Manifest) => m.runtime === "docker" || m.runtime === "podman";
const hostNetwork = (m: Manifest) => m.network?.mode === "host";

const resource = (part: "limits" | "requests", kind: "cpu" | "memory"): Rule => ({
  code: `deployment.resources.${part}.${kind}.invalid`,
  find: (m) => {
    const text = m.resources?.[part]?.[kind];
    const valid = text === undefined || (kind === "cpu" ? parseCpu(text) : parseMemory(text)) !== null;
    const expected =
      kind === "cpu" ? '"500m" or a number of cores such as "0.5"' : 'bytes or a size such as "128Mi" or "1.5G"';
    return when(!valid, `resources.${part}.${kind}`, `expected ${expected}, got "${text}"`);
  },
});

const port = (field: "published" | "target"): Rule => ({
  code: `deployment.ports.${field}.out_of_range`,
  find: (m) =>
    m.ports.flatMap((p, i) =>
      when(p[field] < 1 || p[field] > 65535, `ports[${i}].${field}`, `expected 1 to 65535, got ${p[field]}`),
    ),
});

export const MANIFEST_RULES: readonly Rule[] = [
  {
    code: "deployment.runtime.unsupported",
    find: (m) =>
      when(
        !RUNTIMES.includes(m.runtime as never),
        "runtime",
        `expected one of ${RUNTIMES.join(", ")}, got "${m.runtime}"`,
      ),
  },
  {
    code: "deployment.image.required",
    find: (m) => when(container(m) && !m.image?.trim(), "image", `the ${m.runtime} runtime needs an image`),
  },
  {
    code: "deployment.image.process_unsupported",
    find: (m) =>
      when(
        m.runtime === "process" && m.image != null,
        "image",
        "the process runtime runs a command of the host, not an image",
      ),
  },
  {
    code: "deployment.command.required",
    find: (m) =>
      when(m.runtime === "process" && m.command.length === 0, "command", "the process runtime needs a command"),
  },
  {
    code: "deployment.volumes.process_unsupported",
    find: (m) =>
      when(
        m.runtime === "process" && m.volumes.length > 0,
        "volumes",
        "the process runtime sees the host's own files and mounts nothing",
      ),
  },
  {
    code: "deployment.network.process_unsupported",
    find: (m) =>
      when(
        m.runtime === "process" && m.network != null,
        "network",
        "a process is on the host's network; leave `network` out",
      ),
  },
  {
    code: "deployment.volumes.source.required",
    find: (m) =>
      m.volumes.flatMap((v, i) => when(v.source.trim() === "", `volumes[${i}].source`, "source cannot be empty")),
  },
  {
    code: "deployment.volumes.source.not_absolute",
    find: (m) =>
      m.volumes.flatMap((v, i) =>
        when(
          v.type === "bind" && v.source.trim() !== "" && !v.source.startsWith("/"),
          `volumes[${i}].source`,
          "a bind mount needs an absolute path of the host",
        ),
      ),
  },
  {
    code: "deployment.volumes.destination.required",
    find: (m) =>
      m.volumes.flatMap((v, i) =>
        when(!v.destination.startsWith("/"), `volumes[${i}].destination`, "expected an absolute path in the container"),
      ),
  },
  {
    code: "deployment.ports.host_network_conflict",
    find: (m) =>
      when(
        hostNetwork(m) && m.ports.length > 0,
        "ports",
        "on the host's network nothing is published; leave `ports` out",
      ),
  },
  {
    code: "deployment.replicas.host_network_conflict",
    find: (m) =>
      when(
        hostNetwork(m) && replicated(m),
        "replicas",
        "replicas on the host's network would compete for the same ports; expected 1",
      ),
  },
  port("published"),
  port("target"),
  {
    code: "deployment.ports.host_ip.invalid",
    find: (m) =>
      m.ports.flatMap((p, i) =>
        when(
          p.host_ip != null && !z.union([z.ipv4(), z.ipv6()]).safeParse(p.host_ip).success,
          `ports[${i}].host_ip`,
          `expected an IP address, got "${p.host_ip}"`,
        ),
      ),
  },
  {
    code: "deployment.ports.published.duplicate",
    find: (m) =>
      m.ports.flatMap((p, i) =>
        when(
          m.ports.findIndex((q) => q.published === p.published && q.protocol === p.protocol) < i,
          `ports[${i}].published`,
          `${p.published}/${p.protocol} is published twice`,
        ),
      ),
  },
  {
    code: "deployment.ports.replicas_conflict",
    find: (m) =>
      when(
        m.ports.length > 0 && replicated(m),
        "ports",
        `one host port cannot be shared by ${m.replicas} replicas; leave \`ports\` out or use 1 replica`,
      ),
  },
  {
    code: "deployment.replicas.ports_conflict",
    find: (m) =>
      when(m.ports.length > 0 && replicated(m), "replicas", `expected 1 when ports are published, got ${m.replicas}`),
  },
  {
    code: "deployment.volumes.shared_rw_replicas",
    find: (m) =>
      m.volumes.flatMap((v, i) =>
        when(
          v.type === "volume" && v.permission === "rw" && replicated(m),
          `volumes[${i}].permission`,
          "a writable volume cannot be shared by replicas; use `ro` or 1 replica",
        ),
      ),
  },
  {
    code: "deployment.replicas.job_must_be_one",
    find: (m) =>
      when(m.kind === "job" && m.replicas !== 1, "replicas", `a job runs one instance; expected 1, got ${m.replicas}`),
  },
  {
    code: "deployment.environment.key.invalid",
    find: (m) =>
      Object.keys(m.environment).flatMap((key) =>
        when(
          !/^[A-Za-z_][A-Za-z0-9_]*$/.test(key),
          `environment.${key}`,
          "expected letters, digits and `_`, not starting with a digit",
        ),
      ),
  },
  resource("limits", "cpu"),
  resource("limits", "memory"),
  resource("requests", "cpu"),
  resource("requests", "memory"),
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
    code: "deployment.stop_timeout.invalid",
    find: (m) => {
      const ms = parseDuration(m.stop_timeout);
      return when(
        ms === null || ms > 3_600_000,
        "stop_timeout",
        `expected a duration up to 1h such as "10s", got "${m.stop_timeout}"`,
      );
    },
  },
  {
    code: "deployment.labels.reserved",
    find: (m) =>
      Object.keys(m.labels).flatMap((key) =>
        when(
          key.startsWith("lamplighter.") || key === "ring_deployment",
          `labels.${key}`,
          "this label is the system's own",
        ),
      ),
  },
];

/** Fields of Ring's manifest that this version does not carry out; refused by name, since ignoring them would be worse. */
const NOT_CARRIED_OUT: Record<string, string> = {
  health_checks: "health checks are not carried out by this version",
  autoscale: "autoscaling is not carried out by this version",
};

/** Checks everything about a manifest. Answers it parsed, or every violation at once, each with its path and code. */
export function checkManifest(
  body: unknown,
): { ok: true; manifest: Manifest } | { ok: false; violations: Violation[] } {
  const parsed = Manifest.safeParse(body);
  const violations = parsed.success ? [] : shapeViolations(parsed.error, body);
  const manifest = parsed.success ? parsed.data : salvage(body);
  if (manifest) {
    const broken = new Set(violations.map((v) => v.property_path.split(/[.[]/)[0]));
    for (const { code, find } of MANIFEST_RULES) {
      for (const [property_path, message] of find(manifest)) {
        if (!broken.has(property_path.split(/[.[]/)[0])) violations.push({ property_path, message, code });
      }
    }
  }
  return violations.length === 0 && parsed.success ? { ok: true, manifest: parsed.data } : { ok: false, violations };
}

/** The manifest with each badly typed field at its default (or a harmless value), to find what else is wrong; null when it is no object. */
function salvage(body: unknown): Manifest | null {
  if (typeof body !== "object" || body === null || Array.isArray(body)) return null;
  const entries = Object.entries(MANIFEST_FIELDS).map(([field, schema]) => {
    const value = schema.safeParse((body as Record<string, unknown>)[field]);
    return [field, value.success ? value.data : schema.safeParse(undefined).data];
  });
  return { name: "", ...Object.fromEntries(entries) } as Manifest;
}

/** zod's issues as violations: types, missing fields, and unknown fields with the nearest known name. */
export function shapeViolations(error: z.ZodError, body: unknown): Violation[] {
  return error.issues.flatMap((issue): Violation[] => {
    const path = propertyPath(issue.path);
    if (issue.code === "unrecognized_keys") {
      const known = knownKeys(issue.path);
      return issue.keys.map((key) => {
        const notCarriedOut = issue.path.length === 0 ? NOT_CARRIED_OUT[key] : undefined;
        return notCarriedOut
          ? { property_path: key, message: notCarriedOut, code: `deployment.${key}.unsupported` }
          : {
              property_path: propertyPath([...issue.path, key]),
              message: `unknown field${suggestion(key, known)}`,
              code: "unknown_field",
            };
      });
    }
    const missing = issue.code === "invalid_type" && valueAt(body, issue.path) === undefined;
    return [
      { property_path: path, message: missing ? "required" : issue.message, code: missing ? "required" : issue.code },
    ];
  });
}

export function propertyPath(path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (text, part) =>
      typeof part === "number" ? `${text}[${part}]` : text === "" ? String(part) : `${text}.${String(part)}`,
    "",
  );
}

function valueAt(body: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown> | null | undefined)?.[key], body);
}

/** The field names that the schema knows at a path of the manifest; empty when the path leads into free-form data. */
function knownKeys(path: readonly PropertyKey[]): string[] {
  let schema: unknown = Manifest;
  for (const part of path) schema = step(bare(schema), part);
  const last = bare(schema);
  return last instanceof z.ZodObject ? Object.keys(last.shape) : [];
}

function step(schema: unknown, part: PropertyKey): unknown {
  if (schema instanceof z.ZodArray) return schema.element;
  return schema instanceof z.ZodObject ? (schema.shape as Record<PropertyKey, unknown>)[part] : undefined;
}

function bare(schema: unknown): unknown {
  let inner = schema;
  while (inner instanceof z.ZodDefault || inner instanceof z.ZodOptional || inner instanceof z.ZodNullable)
    inner = inner.unwrap();
  return inner;
}

/** `; did you mean "replicas"?` for the nearest known name within two edits (one for short names), else nothing. */
export function suggestion(word: string, known: readonly string[]): string {
  const near = known
    .map((name) => ({ name, distance: editDistance(word.toLowerCase(), name.toLowerCase()) }))
    .filter(({ name, distance }) => distance <= (Math.min(name.length, word.length) < 5 ? 1 : 2))
    .sort((a, b) => a.distance - b.distance)[0];
  return near ? `; did you mean "${near.name}"?` : "";
}

/** Edits (insert, delete, replace, swap of neighbours) between two words. */
function editDistance(a: string, b: string): number {
  const row = (i: number) => Array.from({ length: b.length + 1 }, (_, j) => (i === 0 ? j : j === 0 ? i : 0));
  const d = Array.from({ length: a.length + 1 }, (_, i) => row(i));
  const at = (i: number, j: number) => (d[i] as number[])[j] as number;
  for (let i = 1; i <= a.length; i++) {
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let best = Math.min(at(i - 1, j) + 1, at(i, j - 1) + 1, at(i - 1, j - 1) + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) best = Math.min(best, at(i - 2, j - 2) + 1);
      (d[i] as number[])[j] = best;
    }
  }
  return at(a.length, b.length);
}
