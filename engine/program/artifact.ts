import { createHash } from "node:crypto";
import { readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { ARTIFACT_BYTES, ARTIFACT_PART, type ReportBody } from "../../contract/instance-report.ts";
import { Backoff } from "../replication/backoff.ts";
import type { Given } from "./environment.ts";

export type ArtifactPart = Extract<ReportBody, { kind: "artifact" }>;

/** What a report has besides, and what JSON needs to say it, must fit into a request too. */
const PART = Math.floor(ARTIFACT_PART * 0.8);

/** Why an engine of this size cannot be had; null when it can. */
export const tooLarge = (bytes: number): string | null =>
  bytes <= ARTIFACT_BYTES
    ? null
    : `the engine is ${megabytes(bytes)}, and one of at most ${megabytes(ARTIFACT_BYTES)} is kept: leave out tables and columns in reflexdb.yaml`;

const megabytes = (bytes: number): string => `${(Math.ceil(bytes / 100_000) / 10).toFixed(1)} MB`;

/** The parts in which it is sent. */
export function artifactParts(hash: string, text: string): ArtifactPart[] {
  const pieces: string[] = [];
  for (let at = 0; at < text.length; ) {
    let end = Math.min(text.length, at + PART);
    // Not between the two halves of one character.
    if (end < text.length && /[\ud800-\udbff]/.test(text[end - 1] as string)) end--;
    pieces.push(text.slice(at, end));
    at = end;
  }
  return pieces.map((piece, part) => ({ kind: "artifact", hash, part, parts: pieces.length, text: piece }));
}

/** An artifact cannot be had. */
export class NoArtifact extends Error {}

/** The artifact in the working folder, from the control plane if it is not there yet. It is what its hash says, or it is not used. */
export async function artifactHere({ workload, reports }: Given, { hash, kept }: Wanted): Promise<string> {
  const path = `${process.cwd()}/${hash}.mjs`;
  if (hashOf(await readFile(path).catch(() => Buffer.alloc(0))) === hash) return path;
  if (!kept) throw new NoArtifact(`the artifact ${hash} is not kept: rebuild it`);
  const url = new URL(`${reports.url.replace(/reports$/, "artifacts/")}${hash}`);
  url.searchParams.set("workload_id", workload.id);
  url.searchParams.set("generation", String(workload.generation));
  const backoff = new Backoff(200, 5000);
  for (;;) {
    const response = await fetch(url, { headers: { authorization: `Bearer ${reports.token}` } }).catch(() => null);
    if (response?.status === 404) throw new NoArtifact(`the artifact ${hash} is kept no more: rebuild it`);
    const program = response?.ok ? Buffer.from(await response.arrayBuffer().catch(() => new ArrayBuffer(0))) : null;
    if (program !== null && hashOf(program) === hash) {
      await writeFile(`${path}.new`, program, { mode: 0o600 });
      await rename(`${path}.new`, path);
      // What ran here before is in memory, if it runs still.
      for (const other of await readdir("."))
        if (/^[0-9a-f]{64}\.mjs$/.test(other) && !path.endsWith(other)) await rm(other, { force: true });
      return path;
    }
    console.error(`the artifact is asked for again: ${response?.status ?? "no answer"}`);
    await new Promise((resolve) => setTimeout(resolve, backoff.next()));
  }
}

type Wanted = { hash: string; kept: boolean };

const hashOf = (data: Buffer): string => createHash("sha256").update(data).digest("hex");
