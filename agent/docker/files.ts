import { mkdir, rename, rm, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { WorkloadSpec } from "../../contract/workload.ts";

export type FileMount = { source: string; destination: string };

/**
 * Configs and secrets as files, bind-mounted into containers: `<folder>/<workload>/g<generation>/<number>`. The program may run as any user of its image,
 * so everybody may read the files; but only the agent's own user gets through the folder that they are in, and a mount does not go through it.
 */
export class Files {
  readonly #root: string;

  constructor(stateDir: string) {
    this.#root = join(stateDir, "files");
  }

  /** Writes them, safe to repeat, and answers where they are to be mounted. */
  async write(id: string, generation: number, files: NonNullable<WorkloadSpec["files"]>): Promise<FileMount[]> {
    if (files.length === 0) return [];
    const folder = this.#folder(id, generation);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    return Promise.all(
      files.map(async ({ destination, content }, index) => {
        const source = join(folder, String(index));
        await writeFile(`${source}.new`, content, { mode: 0o444 });
        await rename(`${source}.new`, source);
        return { source, destination };
      }),
    );
  }

  async remove(id: string, generation: number): Promise<void> {
    await rm(this.#folder(id, generation), { recursive: true, force: true });
    // Only when no other generation has files.
    await rmdir(join(this.#root, plain(id))).catch(() => undefined);
  }

  #folder(id: string, generation: number): string {
    return join(this.#root, plain(id), `g${generation}`);
  }
}

/** An id as the name of a folder, whatever it holds. */
const plain = (id: string): string => encodeURIComponent(id).replaceAll(".", "%2E");
