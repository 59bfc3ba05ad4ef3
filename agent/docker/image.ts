/** An image reference, taken apart. `domain` is null when the reference leaves it to the engine (Docker Hub, or Podman's search list). */
export type ImageReference = { domain: string | null; path: string; tag: string | null; digest: string | null };

/** The first part is a registry when it looks like a host: with a dot or a port, or `localhost`. */
export function parseImage(image: string): ImageReference {
  const at = image.indexOf("@");
  const digest = at < 0 ? null : image.slice(at + 1);
  const rest = at < 0 ? image : image.slice(0, at);
  const slash = rest.indexOf("/");
  const first = slash < 0 ? "" : rest.slice(0, slash);
  const domain = first !== "" && (/[.:]/.test(first) || first === "localhost") ? first : null;
  const named = domain === null ? rest : rest.slice(slash + 1);
  const colon = named.lastIndexOf(":");
  const tagged = colon > named.lastIndexOf("/");
  return { domain, path: tagged ? named.slice(0, colon) : named, tag: tagged ? named.slice(colon + 1) : null, digest };
}

/** What the engine's pull takes. Without a tag it would pull every tag of the repository, so `latest` is said. */
export function pullTarget(image: string): { fromImage: string; tag: string } {
  const { domain, path, tag, digest } = parseImage(image);
  return { fromImage: domain === null ? path : `${domain}/${path}`, tag: digest ?? tag ?? "latest" };
}

const HUB = ["docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"];

/** The registry's host in one spelling: no scheme, no path, Docker Hub under one name. */
export function registryHost(server: string | null): string {
  if (server === null) return "docker.io";
  const host = server
    .replace(/^https?:\/\//, "")
    .replace(/\/.*$/, "")
    .toLowerCase();
  return HUB.includes(host) ? "docker.io" : host;
}

export type Registry = { server: string | null; username: string; password: string };
export type RegistryAuth = { username: string; password: string; serveraddress: string };

/**
 * What the engine sends to the image's registry. An engine sends credentials wherever the image's name points, whatever `server` says, so
 * credentials for another registry answer null: they must not be sent.
 */
export function registryAuth(image: string, registry: Registry): RegistryAuth | null {
  const wanted = registryHost(parseImage(image).domain);
  if (registry.server !== null && registryHost(registry.server) !== wanted) return null;
  const serveraddress = wanted === "docker.io" ? "https://index.docker.io/v1/" : wanted;
  return { username: registry.username, password: registry.password, serveraddress };
}

/** The digest by which the image's registry knows it; null for one that was never pulled from there. */
export function digestOf(image: string, repoDigests: string[] | null | undefined): string | null {
  const { domain, path } = parseImage(image);
  const wanted = `${registryHost(domain)}/${path.replace(/^library\//, "")}`;
  for (const entry of repoDigests ?? []) {
    const found = parseImage(entry);
    if (`${registryHost(found.domain)}/${found.path.replace(/^library\//, "")}` === wanted) return found.digest;
  }
  return null;
}
