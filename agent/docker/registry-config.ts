import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { parseImage, type RegistryAuth, registryAuth, registryHost } from "./image.ts";

/** The part of a Docker config.json that is understood. */
const RegistryConfig = z.object({
  auths: z
    .record(
      z.string(),
      z.object({
        auth: z.string().optional(),
        username: z.string().optional(),
        password: z.string().optional(),
        identitytoken: z.string().optional(),
      }),
    )
    .default({}),
  credsStore: z.string().optional(),
  credHelpers: z.record(z.string(), z.string()).optional(),
});

/** `none`: it is a config, without credentials for this image's registry. What is said never holds a part of it. */
export type Found = { auth: RegistryAuth } | { none: string } | { fault: string };

/** The credentials that a Docker config.json has for an image's registry. */
export function credentialsIn(text: string, image: string): Found {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return { fault: "it is not JSON" };
  }
  const parsed = RegistryConfig.safeParse(json);
  if (!parsed.success) return { fault: `it is not a Docker config.json (${parsed.error.issues[0]?.path.join(".")})` };
  const { auths, credsStore, credHelpers = {} } = parsed.data;
  const wanted = registryHost(parseImage(image).domain);
  const entry = Object.entries(auths).find(([server]) => registryHost(server) === wanted)?.[1];
  const pair = entry && (pairOf(entry.auth) ?? pairOf(entry.username, entry.password));
  if (pair) {
    const auth = registryAuth(image, { server: null, ...pair });
    if (auth !== null) return { auth };
  }
  const helper = Object.entries(credHelpers).find(([server]) => registryHost(server) === wanted)?.[1] ?? credsStore;
  if (helper !== undefined)
    return { none: `the credentials for ${wanted} are kept by docker-credential-${helper}, which is not asked` };
  if (entry?.identitytoken) return { none: `for ${wanted} it has an identity token, which is not understood` };
  return { none: `it has no credentials for ${wanted}` };
}

/** From `auth`, base64 of `username:password`, or from both as they are. */
function pairOf(first: string | undefined, password?: string): { username: string; password: string } | null {
  if (first === undefined || first === "") return null;
  if (password !== undefined) return { username: first, password };
  const text = Buffer.from(first, "base64").toString("utf8");
  const colon = text.indexOf(":");
  return colon > 0 ? { username: text.slice(0, colon), password: text.slice(colon + 1).replace(/\0+$/, "") } : null;
}

/** The host's own Docker config; null when it has none. */
export async function hostRegistryConfig(): Promise<string | null> {
  const folder = process.env.DOCKER_CONFIG ?? join(homedir(), ".docker");
  try {
    return await readFile(join(folder, "config.json"), "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw new Error(`the host's Docker config cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
}
