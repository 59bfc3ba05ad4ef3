import type { Manifest, Volume } from "./manifest.ts";
import { type Finding, type Rule, when } from "./rule.ts";

const each = (m: Manifest, find: (volume: Volume, path: string) => Finding[]): Finding[] =>
  m.volumes.flatMap((volume, i) => find(volume, `volumes[${i}]`));
const isBlank = (text: string | null | undefined): boolean => text != null && text.trim() === "";
const isMounted = ({ type }: Volume): boolean => type === "bind" || type === "volume";
const isFile = ({ type }: Volume): boolean => type === "config" || type === "secret";
const WORD = { bind: "bind", volume: "named", config: "config", secret: "secret" } as const;

/** Volumes, and what is mounted as a file. Those on config and secret volumes have Ring's codes and messages. */
export const VOLUME_RULES: readonly Rule[] = [
  {
    code: "deployment.volumes.process_unsupported",
    find: (m) =>
      each(m, (v, path) =>
        when(
          m.runtime === "process" && isMounted(v),
          `${path}.type`,
          `the process runtime sees the host's own files and mounts nothing; it takes config and secret, not ${v.type}`,
        ),
      ),
  },
  {
    code: "deployment.volumes.source.required",
    find: (m) =>
      each(m, (v, path) => [
        ...when(
          v.type !== "config" && v.source == null,
          `${path}.source`,
          `source is required for ${WORD[v.type]} volumes`,
        ),
        ...when(v.type !== "config" && isBlank(v.source), `${path}.source`, "source cannot be empty"),
      ]),
  },
  {
    code: "deployment.volumes.source.not_absolute",
    find: (m) =>
      each(m, (v, path) =>
        when(
          v.type === "bind" && v.source != null && !isBlank(v.source) && !v.source.startsWith("/"),
          `${path}.source`,
          "a bind mount needs an absolute path of the host",
        ),
      ),
  },
  {
    code: "required",
    find: (m) =>
      each(m, (v, path) =>
        v.type !== "config"
          ? []
          : [
              ...when(v.source == null, `${path}.source`, "source is required for config volumes"),
              ...when(v.key == null, `${path}.key`, "key is required for config volumes"),
            ],
      ),
  },
  {
    code: "empty",
    find: (m) =>
      each(m, (v, path) =>
        v.type !== "config"
          ? []
          : [
              ...when(isBlank(v.source), `${path}.source`, "source cannot be empty"),
              ...when(isBlank(v.key), `${path}.key`, "key cannot be empty"),
            ],
      ),
  },
  {
    code: "unexpected_field",
    find: (m) =>
      each(m, (v, path) =>
        when(
          v.type !== "config" && v.key != null,
          `${path}.key`,
          `${WORD[v.type]} volumes have no key${v.type === "secret" ? ": a secret is one value" : ""}`,
        ),
      ),
  },
  {
    code: "invalid_permission",
    find: (m) =>
      each(m, (v, path) =>
        when(isFile(v) && v.permission !== "ro", `${path}.permission`, `${v.type} volumes must be read-only (ro)`),
      ),
  },
  {
    code: "deployment.volumes.destination.required",
    find: (m) =>
      each(m, (v, path) =>
        when(
          m.runtime !== "process" && !v.destination.startsWith("/"),
          `${path}.destination`,
          "expected an absolute path in the container",
        ),
      ),
  },
  {
    code: "deployment.volumes.destination.not_relative",
    find: (m) =>
      each(m, (v, path) =>
        when(
          m.runtime === "process" && isFile(v) && !isPlainPath(v.destination),
          `${path}.destination`,
          'expected a relative path such as "app.json", without `..`: the process runtime puts the file below the folder that $LAMPLIGHTER_FILES names',
        ),
      ),
  },
  {
    code: "deployment.volumes.destination.duplicate",
    find: (m) =>
      each(m, (v, path) =>
        when(
          v.destination !== "" && m.volumes.find((other) => other.destination === v.destination) !== v,
          `${path}.destination`,
          `${v.destination} is mounted twice`,
        ),
      ),
  },
  {
    code: "deployment.volumes.shared_rw_replicas",
    find: (m) =>
      each(m, (v, path) =>
        when(
          v.type === "volume" && v.permission === "rw" && m.replicas > 1,
          `${path}.permission`,
          "a writable volume cannot be shared by replicas; use `ro` or 1 replica",
        ),
      ),
  },
];

/** A path that stays below where it starts, in characters that every file system takes. */
export const isPlainPath = (path: string): boolean =>
  path.length <= 255 &&
  path.split("/").every((part) => /^[A-Za-z0-9_.-]+$/.test(part) && part !== "." && part !== "..");
