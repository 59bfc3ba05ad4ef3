import { ENGINE_PROGRAM, type EngineTask } from "../../contract/engine-task.ts";
import { REPORT_ENV } from "../../contract/instance-report.ts";
import type { Sealed } from "../../contract/sealed.ts";
import type { WorkloadSpec } from "../../contract/workload.ts";

const STOP_TIMEOUT_MS = 10_000;
/** Names the port of an engine; the host chooses the one that it listens on. */
const ENGINE_PORT = 8080;

export type Program = {
  task: EngineTask;
  workload: { id: string; generation: number };
  namespace: string;
  name: string;
  labels: Record<string, string>;
  /** Where it reports to. */
  reports: string;
  reportToken: Sealed;
  password: Sealed;
  keySecret: Sealed | null;
  memory_bytes: number;
  cpu_millis: number;
  run_timeout_ms: number | null;
};

/** The engine's program as a host is to run it: to test a source, to build, or to serve. */
export function programSpec(program: Program): WorkloadSpec {
  const { task, workload, memory_bytes, cpu_millis } = program;
  const isEngine = task.do === "serve";
  return {
    runtime: "process",
    namespace: program.namespace,
    name: `${program.name}-${task.do}`,
    kind: isEngine ? "worker" : "job",
    image: null,
    image_pull_policy: "Never",
    registry: null,
    command: [ENGINE_PROGRAM, task.do],
    working_dir: null,
    environment: {
      [REPORT_ENV.path]: program.reports,
      [REPORT_ENV.task]: JSON.stringify(task),
      [REPORT_ENV.workload]: workload.id,
      [REPORT_ENV.generation]: String(workload.generation),
    },
    labels: { ...program.labels, "lamplighter.task": task.do },
    ports: isEngine ? [{ target: ENGINE_PORT, protocol: "tcp" }] : [],
    mounts: [],
    user: { id: null, group: null, privileged: false },
    network: "bridge",
    // A share is reserved; what nobody else uses a program may take, an engine that loads above all.
    cpu_limit_millis: null,
    memory_limit_bytes: isEngine ? memory_bytes : null,
    cpu_reserved_millis: cpu_millis,
    memory_reserved_bytes: memory_bytes,
    stop_timeout_ms: STOP_TIMEOUT_MS,
    run_timeout_ms: program.run_timeout_ms,
    sealed: {
      environment: {
        [REPORT_ENV.token]: program.reportToken,
        [REPORT_ENV.password]: program.password,
        ...(program.keySecret === null ? {} : { [REPORT_ENV.keySecret]: program.keySecret }),
      },
    },
  };
}
