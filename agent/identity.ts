import { open, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { generateKeyPair, importPrivateKey, toBase64Url } from "../contract/envelope.ts";
import { EnrolAnswer, type EnrolRequest, enrolProofText } from "../contract/frame.ts";
import { Problem } from "../contract/problem.ts";

const Keys = z.object({
  public_key: z.string(),
  private_key: z.custom<JsonWebKey>((value) => typeof value === "object" && value !== null),
});

/** Who this host is to the control plane. `joining` until the control plane has answered: the key is kept first, so that a repetition has the same. */
const Stored = z.discriminatedUnion("state", [
  z.object({ state: z.literal("joining"), ...Keys.shape }),
  z.object({ state: z.literal("joined"), ...Keys.shape, ...EnrolAnswer.shape }),
]);
type Stored = z.infer<typeof Stored>;
export type Identity = Extract<Stored, { state: "joined" }>;

const pathOf = (dataDir: string): string => join(dataDir, "identity.json");

/** The stored identity, or null when this host has not joined. Throws a message for a person when the file is damaged. */
export async function readIdentity(dataDir: string): Promise<Identity | null> {
  const stored = await readStored(dataDir);
  return stored?.state === "joined" ? stored : null;
}

async function readStored(dataDir: string): Promise<Stored | null> {
  const path = pathOf(dataDir);
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw new Error(`The identity ${path} cannot be read: ${(error as Error).message}`);
  }
  try {
    return Stored.parse(JSON.parse(text));
  } catch {
    // The file holds a private key: what is wrong with it is not quoted.
    throw new Error(
      `The identity ${path} is damaged. Remove the host, delete the file, and join again with a new join token.`,
    );
  }
}

async function writeStored(dataDir: string, stored: Stored): Promise<void> {
  const path = pathOf(dataDir);
  const file = await open(`${path}.new`, "w", 0o600);
  try {
    await file.writeFile(JSON.stringify(stored));
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
}

export async function forgetIdentity(dataDir: string): Promise<void> {
  await rm(pathOf(dataDir), { force: true });
}

/** The control plane said no: trying again with the same token does not help. */
export class JoinRefused extends Error {}

export type JoinOptions = {
  dataDir: string;
  url: string;
  joinToken: string;
  name: string;
  labels: Record<string, string>;
  transport: "tunnel" | "call";
  endpoint: string | null;
};

/**
 * Joins this host to the control plane, and stores who it is from then on. Throws `JoinRefused` with what the control plane said, or any
 * other error when it cannot be reached; then it may be repeated, with the same key.
 */
export async function enrol(options: JoinOptions): Promise<Identity> {
  const { dataDir, url, joinToken, name, labels, transport, endpoint } = options;
  let keys: z.infer<typeof Keys> | null = await readStored(dataDir);
  if (keys === null) {
    const pair = await generateKeyPair();
    keys = { public_key: pair.publicKey, private_key: pair.privateKey };
    await writeStored(dataDir, { state: "joining", ...keys });
  }
  const at = Date.now();
  const text = new TextEncoder().encode(enrolProofText(name, at));
  const proof = await crypto.subtle.sign("Ed25519", await importPrivateKey(keys.private_key), text);
  const request: EnrolRequest = {
    name,
    public_key: keys.public_key,
    transport,
    endpoint,
    labels,
    at,
    proof: toBase64Url(new Uint8Array(proof)),
  };
  const response = await fetch(`${url}/hosts`, {
    method: "POST",
    headers: { Authorization: `Bearer ${joinToken}`, "Content-Type": "application/json" },
    body: JSON.stringify(request),
    signal: AbortSignal.timeout(15_000),
  });
  const body: unknown = await response.json().catch(() => null);
  if (!response.ok) {
    const said = refusalText(response.status, body);
    if (response.status >= 500 || response.status === 429) throw new Error(said);
    throw new JoinRefused(said);
  }
  const identity: Identity = { state: "joined", ...keys, ...EnrolAnswer.parse(body) };
  await writeStored(dataDir, identity);
  return identity;
}

function refusalText(status: number, body: unknown): string {
  const problem = Problem.safeParse(body);
  if (!problem.success) return `the control plane answers HTTP ${status}`;
  const { title, detail, violations } = problem.data;
  const faults = violations.map((violation) => `${violation.property_path}: ${violation.message}`);
  return [`${title} (HTTP ${status})`, detail, ...faults].filter(Boolean).join("; ");
}
