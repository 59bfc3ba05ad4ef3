import { z } from "zod";

/** The machine under an agent, as it is at this moment. Ring's names and units. */
export const Node = z.object({
  hostname: z.string(),
  os: z.string(),
  arch: z.string().describe("As `uname -m` says it"),
  uptime: z.string().describe("Seconds, with an `s`"),
  cpu_count: z.int(),
  memory_total: z.number().describe("GiB"),
  memory_available: z.number().describe("GiB"),
  load_average: z.array(z.number()).length(3).describe("Over 1, 5 and 15 minutes"),
});
export type Node = z.infer<typeof Node>;

/** One host's machine. */
export const HostNode = Node.extend({ host_id: z.string(), host_name: z.string() });
export type HostNode = z.infer<typeof HostNode>;
