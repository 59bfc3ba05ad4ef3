/** An image's name in its parts. `repository` is without the registry's host, `library/` and all; null host: Docker Hub. */
export type ImageReference = {
  name: string;
  host: string | null;
  repository: string;
  tag: string | null;
  digest: string | null;
};

export const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
export const DIGEST = /^sha256:[0-9a-f]{64}$/;

export function parseImage(image: string): ImageReference {
  const [named = "", digest = null] = image.split("@");
  const colon = named.lastIndexOf(":");
  const hasTag = colon > named.lastIndexOf("/");
  const name = hasTag ? named.slice(0, colon) : named;
  const [first = "", ...rest] = name.split("/");
  const hasHost = rest.length > 0 && (/[.:]/.test(first) || first === "localhost");
  const host = hasHost && !["docker.io", "index.docker.io", "registry-1.docker.io"].includes(first) ? first : null;
  const path = hasHost ? rest.join("/") : name;
  const repository = host === null && !path.includes("/") ? `library/${path}` : path;
  return { name, host, repository, tag: hasTag ? named.slice(colon + 1) : null, digest };
}
