import { z } from "zod";
import type { Manifest } from "./manifest.ts";
import { parseCpu, parseDuration, parseMemory } from "./quantity.ts";
import { REGISTRY_RULES } from "./registry-rules.ts";
import { type Rule, when } from "./rule.ts";
import { shellWords } from "./shell-words.ts";
import { VOLUME_RULES } from "./volume-rules.ts";
import { RUNTIMES } from "./workload.ts";

const published = (m: Manifest) => m.ports.some((p) => p.published != null);
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

const outOfRange = (value: number | null | undefined) => value != null && (value < 1 || value > 65535);
const port = (field: "published" | "target"): Rule => ({
  code: `deployment.ports.${field}.out_of_range`,
  find: (m) =>
    m.ports.flatMap((p, i) =>
      when(outOfRange(p[field]), `ports[${i}].${field}`, `expected 1 to 65535, got ${p[field]}`),
    ),
});

/** A check's duration, at least so many ms and at most an hour. */
function checkDuration(field: "interval" | "timeout" | "min_healthy_time" | "start_period", least: number): Rule {
  return {
    code: `deployment.health_checks.${field}.invalid`,
    find: (m) =>
      m.health_checks.flatMap((check, i) => {
        const ms = parseDuration(check[field]);
        return when(
          ms === null || ms < least || ms > 3_600_000,
          `health_checks[${i}].${field}`,
          `expected a duration from ${least}ms to 1h such as "10s", got "${check[field]}"`,
        );
      }),
  };
}

/** All of them, in the order in which they are told. */
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
    code: "deployment.network.process_unsupported",
    find: (m) =>
      when(
        m.runtime === "process" && m.network != null,
        "network",
        "a process is on the host's network; leave `network` out",
      ),
  },
  ...VOLUME_RULES,
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
          p.published != null && m.ports.findIndex((q) => q.published === p.published && q.protocol === p.protocol) < i,
          `ports[${i}].published`,
          `${p.published}/${p.protocol} is published twice`,
        ),
      ),
  },
  {
    code: "deployment.ports.replicas_conflict",
    find: (m) =>
      when(
        published(m) && replicated(m),
        "ports",
        `one host port cannot be shared by ${m.replicas} replicas; leave \`published\` out, so that each gets a free one, or use 1 replica`,
      ),
  },
  {
    code: "deployment.replicas.ports_conflict",
    find: (m) =>
      when(published(m) && replicated(m), "replicas", `expected 1 when ports are published, got ${m.replicas}`),
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
  {
    code: "deployment.environment.reference.empty",
    find: (m) =>
      Object.entries(m.environment).flatMap(([key, value]) =>
        when(
          typeof value !== "string" && Object.values(value).some((part) => part.trim() === ""),
          `environment.${key}`,
          "a reference needs the name of what it refers to",
        ),
      ),
  },
  resource("limits", "cpu"),
  resource("limits", "memory"),
  resource("requests", "cpu"),
  resource("requests", "memory"),
  ...REGISTRY_RULES,
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
  checkDuration("interval", 100),
  checkDuration("timeout", 10),
  checkDuration("min_healthy_time", 0),
  checkDuration("start_period", 0),
  {
    code: "deployment.health_checks.url.invalid",
    find: (m) =>
      m.health_checks.flatMap((check, i) =>
        when(
          check.type === "http" && !/^https?:\/\/[^/]/.test(check.url),
          `health_checks[${i}].url`,
          `expected an http:// or https:// URL, got "${check.type === "http" ? check.url : ""}"`,
        ),
      ),
  },
  {
    code: "deployment.health_checks.command.invalid",
    find: (m) =>
      m.health_checks.flatMap((check, i) =>
        when(
          check.type === "command" && (shellWords(check.command) ?? []).length === 0,
          `health_checks[${i}].command`,
          "expected a command, with every quote closed",
        ),
      ),
  },
  {
    code: "deployment.health_checks.host_network_unsupported",
    find: (m) =>
      m.health_checks.flatMap((check, i) =>
        when(
          check.type === "http" && hostNetwork(m) && !/^https?:\/\/[^/]*:\d+/.test(check.url),
          `health_checks[${i}].url`,
          "on the host's network the URL has to name the port",
        ),
      ),
  },
  {
    code: "deployment.health_checks.job_readiness_unsupported",
    find: (m) =>
      m.health_checks.flatMap((check, i) =>
        when(
          m.kind === "job" && check.readiness,
          `health_checks[${i}].readiness`,
          "a job is never held back until it is ready; leave `readiness` out",
        ),
      ),
  },
  {
    code: "deployment.autoscale.invalid",
    find: (m) => {
      const a = m.autoscale;
      if (a == null) return [];
      return [
        ...when(a.min < 1, "autoscale.min", `expected at least 1, got ${a.min}`),
        ...when(a.max < a.min, "autoscale.max", `expected at least \`min\` (${a.min}), got ${a.max}`),
        ...when(a.max > 1000, "autoscale.max", `expected at most 1000, got ${a.max}`),
        ...when(
          !(a.target_cpu > 0 && a.target_cpu < 100),
          "autoscale.target_cpu",
          `expected above 0 and below 100, got ${a.target_cpu}`,
        ),
      ];
    },
  },
  {
    code: "deployment.autoscale.job_unsupported",
    find: (m) =>
      when(m.kind === "job" && m.autoscale != null, "autoscale", "a job runs one instance and is not scaled"),
  },
  {
    code: "deployment.autoscale.host_network_conflict",
    find: (m) =>
      when(
        hostNetwork(m) && m.autoscale != null,
        "autoscale",
        "instances on the host's network would compete for the same ports",
      ),
  },
  {
    code: "deployment.autoscale.ports_conflict",
    find: (m) =>
      when(
        published(m) && m.autoscale != null && m.autoscale.max > 1,
        "autoscale.max",
        "one host port cannot be shared by several instances; leave `published` out, so that each gets a free one",
      ),
  },
  {
    code: "deployment.max_surge.stuck",
    find: (m) =>
      when(
        m.max_surge === 0 && m.max_unavailable === 0,
        "max_surge",
        "with `max_surge` and `max_unavailable` both 0 no update could ever begin",
      ),
  },
  {
    code: "deployment.rollout_deadline.invalid",
    find: (m) => {
      const ms = parseDuration(m.rollout_deadline);
      return when(
        ms === null || ms < 1000 || ms > 86_400_000,
        "rollout_deadline",
        `expected a duration from 1s to 24h such as "600s", got "${m.rollout_deadline}"`,
      );
    },
  },
  ...(["retries", "deadline", "ttl_after_finished"] as const).map((field) => ({
    code: `deployment.${field}.worker_unsupported`,
    find: (m: Manifest) =>
      when(m.kind === "worker" && !!m[field], field, "only a job has this; a worker runs until it is deleted"),
  })),
  ...(["deadline", "ttl_after_finished"] as const).map((field) => ({
    code: `deployment.${field}.invalid`,
    find: (m: Manifest) => {
      const text = m[field];
      const ms = text == null ? 0 : parseDuration(text);
      return when(
        ms === null || (text != null && field === "deadline" && ms < 1) || ms > 366 * 86_400_000,
        field,
        `expected a duration such as "30m", at most 366d, got "${text}"`,
      );
    },
  })),
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
