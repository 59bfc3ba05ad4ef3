import { FORGES, type HookSource } from "../../contract/hook.ts";
import { DIGEST, type ImageReference, parseImage, TAG } from "./image-reference.ts";

/** What a call says, in one form for all who call. */
export type Push =
  /** An image came into a registry. `hub`: Docker Hub, which says so by its form. */
  | { type: "image"; repository: string; hub: boolean; tag: string; digest: string | null }
  /** Commits came into a forge, to a branch or a tag. */
  | { type: "commit"; ref: string; isTag: boolean; sha: string; isDefault: boolean };

export type Read = { push: Push } | { ignored: string };

const ignored = (why: string): Read => ({ ignored: why });

/** What is there by these names, one in the other; undefined when it is not. */
const at = (value: unknown, ...names: string[]): unknown =>
  names.reduce<unknown>(
    (inner, name) =>
      typeof inner === "object" && inner !== null && Object.hasOwn(inner, name)
        ? inner[name as keyof typeof inner]
        : undefined,
    value,
  );
const text = (value: unknown, ...names: string[]): string => {
  const found = at(value, ...names);
  return typeof found === "string" ? found : "";
};

/** Reads a call that has been verified. `event` is the forge's own word for what happened. Never throws. */
export function readPush(source: HookSource, event: string | null, body: unknown): Read {
  if (typeof body !== "object" || body === null || Array.isArray(body)) return ignored("the body is no JSON object");
  if (source === "registry") return readRegistry(body);
  if (source === "generic") return readGeneric(body);
  const word = (event ?? "")
    .toLowerCase()
    .replace(/ hook$/, "")
    .replaceAll(" ", "_");
  return word === "push" || word === "tag_push" ? readForge(body) : ignored(`'${word}' is no push`);
}

/** The notifications of Distribution and what is built on it; Docker Hub's webhooks. */
function readRegistry(payload: object): Read {
  if (at(payload, "push_data") !== undefined)
    return image(text(payload, "repository", "repo_name"), text(payload, "push_data", "tag"), "", true);
  const events = at(payload, "events");
  if (!Array.isArray(events)) return ignored("neither Distribution's notification nor Docker Hub's webhook");
  for (const event of [...events].reverse()) {
    // Layers are pushed too, and manifests without a tag.
    if (text(event, "action") !== "push" || text(event, "target", "tag") === "") continue;
    const target = at(event, "target");
    return image(text(target, "repository"), text(target, "tag"), text(target, "digest"), false);
  }
  return ignored("no push of a tag is in it");
}

/** `{image}`, `{tag}`, or `{ref, sha}`, by itself or as the `data` of an envelope. */
function readGeneric(payload: object): Read {
  const inner = at(payload, "data");
  const data = typeof inner === "object" && inner !== null ? inner : payload;
  if (text(data, "image") !== "") {
    const { repository, host, tag, digest } = parseImage(text(data, "image"));
    return image(repository, tag ?? "", digest ?? "", host === null);
  }
  if (text(data, "tag") !== "") return image("", text(data, "tag"), text(data, "digest"), false);
  return readForge(data);
}

function image(repository: string, tag: string, digest: string, hub: boolean): Read {
  if (!TAG.test(tag)) return ignored("it names no tag");
  const whole = hub && repository !== "" && !repository.includes("/") ? `library/${repository}` : repository;
  return { push: { type: "image", repository: whole, hub, tag, digest: DIGEST.test(digest) ? digest : null } };
}

function readForge(payload: object): Read {
  const full = text(payload, "ref");
  const sha = text(payload, "checkout_sha") || text(payload, "after") || text(payload, "sha");
  if (!/^[0-9a-f]{7,64}$/.test(sha) || /^0+$/.test(sha) || at(payload, "deleted") === true)
    return ignored(full === "" ? "it names neither image, tag nor commit" : `${full.slice(0, 100)} was deleted`);
  const isTag = full.startsWith("refs/tags/");
  const ref = full.replace(/^refs\/(heads|tags)\//, "");
  const main = text(payload, "repository", "default_branch") || text(payload, "project", "default_branch");
  return { push: { type: "commit", ref, isTag, sha, isDefault: !isTag && ref !== "" && ref === main } };
}

export type HookFilter = {
  source: HookSource;
  image: string | null;
  branches: readonly string[];
  tags: readonly string[];
};

/** The image that a push asks for, or why it asks for none. */
export function imageFor(push: Push, hook: HookFilter, current: string): { image: string } | { ignored: string } {
  const present = parseImage(current);
  const wanted = push.type === "image" ? unwantedImage(push, hook, present) : unwantedCommit(push, hook);
  if (wanted !== null) return { ignored: wanted };
  if (hook.image !== null) return filled(hook.image, push);
  if (push.type === "commit") return { ignored: "it names no image, and this hook has no template for one" };
  // The same tag again is another image only by its digest.
  const pinned = push.tag === present.tag && push.digest !== null ? `@${push.digest}` : "";
  return { image: `${present.name}:${push.tag}${pinned}` };
}

function unwantedImage(
  push: Extract<Push, { type: "image" }>,
  hook: HookFilter,
  present: ImageReference,
): string | null {
  const isOther = push.repository !== "" && push.repository !== present.repository;
  if (isOther || (push.hub && present.host !== null))
    return `${push.repository} is not the repository of ${present.name}`;
  return hook.tags.length === 0 || hook.tags.some((pattern) => matches(pattern, push.tag))
    ? null
    : `the tag ${push.tag} is none of ${hook.tags.join(", ")}`;
}

function unwantedCommit(push: Extract<Push, { type: "commit" }>, hook: HookFilter): string | null {
  const { branches, tags, source } = hook;
  const patterns = push.isTag ? tags : branches;
  if (patterns.some((pattern) => matches(pattern, push.ref))) return null;
  const none = branches.length === 0 && tags.length === 0;
  if (none && (push.isDefault || !FORGES.includes(source))) return null;
  return none ? `${push.ref} is not the default branch` : `${push.ref} is none of ${[...branches, ...tags].join(", ")}`;
}

function filled(template: string, push: Push): { image: string } | { ignored: string } {
  const ref = (push.type === "commit" ? push.ref : push.tag).replaceAll(/[^A-Za-z0-9_.-]/g, "-");
  const values: Record<string, string> = {
    ref,
    tag: push.type === "image" || push.isTag ? ref : "",
    sha: push.type === "commit" ? push.sha : "",
    short_sha: push.type === "commit" ? push.sha.slice(0, 7) : "",
    digest: push.type === "image" ? (push.digest ?? "") : "",
  };
  const missing = [...template.matchAll(/\{(\w+)\}/g)].find(([, word]) => !values[word as string]);
  if (missing) return { ignored: `it says nothing for ${missing[0]}` };
  return { image: template.replaceAll(/\{(\w+)\}/g, (_, word: string) => values[word] as string) };
}

/** Whether a text is of a pattern in which `*` stands for anything. Takes no longer than the two are long. */
export function matches(pattern: string, subject: string): boolean {
  const [first = "", ...parts] = pattern.split("*");
  const last = parts.pop();
  if (last === undefined) return subject === pattern;
  if (!subject.startsWith(first) || !subject.endsWith(last)) return false;
  let at = first.length;
  for (const part of parts) {
    const found = subject.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return at <= subject.length - last.length;
}
