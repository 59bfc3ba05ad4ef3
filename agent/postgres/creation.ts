import { createReadStream, createWriteStream } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import type { WriterOrder } from "../../contract/writer.ts";
import { formatLsn } from "../../postgres/lsn.ts";
import { pack } from "./archive.ts";
import type { Installation } from "./binaries.ts";
import type { Cluster } from "./cluster.ts";
import { endOfLog, readControlFile } from "./control-file.ts";
import type { Promised } from "./keeper-group.ts";
import { NotStarted } from "./not-started.ts";
import type { Template } from "./template.ts";

/** A new cluster, from which the keepers have a base backup before it is opened. */
export async function createCluster(
  order: WriterOrder,
  cluster: Cluster,
  { answers }: Promised,
  { template, installation }: { template: Template; installation: Installation },
): Promise<void> {
  const folder = await cluster.clearIncoming();
  await template.copyTo(installation, folder);
  const control = await readControlFile(folder);
  if (control === null) throw new NotStarted("failed", "the template cannot be read");
  const query = {
    term: order.term,
    system_identifier: control.systemIdentifier,
    timeline: control.timeline,
    start_lsn: formatLsn(control.redo),
    end_lsn: formatLsn(await endOfLog(folder, control)),
    bytes: 0,
    postgres_version: installation.version,
  };
  const archive = join(cluster.folder, "seed.tar.zst");
  if (answers.length > 0) await pipeline(pack(folder), createWriteStream(archive, { mode: 0o600 }));
  // One that cannot take it now takes a base backup of the writer later.
  const seeds = await Promise.allSettled(answers.map(({ client }) => client.seed(query, createReadStream(archive))));
  await rm(archive, { force: true });
  const failed = seeds.filter((seed) => seed.status === "rejected");
  if (answers.length - failed.length < order.quorum)
    throw new NotStarted("keepers_unreachable", `the keepers do not take it: ${failed[0]?.reason}`);
  await cluster.acceptIncoming();
}
