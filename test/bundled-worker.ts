// Runs before whole control planes are tested: all of them have the same Worker, which is bundled once.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { bundleWorker } from "../cli/up/bundle.ts";

export default async function setup(project: TestProject): Promise<() => void> {
  const folder = mkdtempSync(join(tmpdir(), "lamplighter-worker-"));
  project.provide("worker", await bundleWorker(folder));
  return () => rmSync(folder, { recursive: true, force: true });
}
