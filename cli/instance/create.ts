import { type Command, Option } from "commander";
import type { InstanceView } from "../../contract/instance.ts";
import { INSTANCE_SIZES } from "../../contract/instance-size.ts";
import { SYNC_MODES } from "../../contract/source-kind.ts";
import { collect, inSession, positive, serverCommand } from "../command.ts";
import { fileText } from "../config/data.ts";
import { keyValues } from "../key-values.ts";
import { connectionId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { pauseSchedule } from "./pause-schedule.ts";

type Options = SessionOptions & {
  namespace: string;
  connection: string;
  schema: string;
  size?: string;
  syncMode?: string;
  syncInterval?: number;
  config?: string;
  logLevel?: string;
  safetyNet?: number;
  binlogServerId?: number;
  label?: string[];
  pauseAt?: string;
  resumeAt?: string;
  days?: string;
  timeZone?: string;
  idlePause?: string;
  keepSourceAwake?: boolean;
};

export function instanceCreateCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "create <name>", "register an instance; `provision` then builds and runs it", [
    "lamplighter instance create shop-read --connection shop-mysql --schema shop",
    "lamplighter instance create shop-read --connection shop-mysql --schema shop --size small --config reflexdb.yaml",
    "lamplighter instance create shop-read --connection shop-mysql --schema shop --pause-at 20:00 --resume-at 07:00 --days mon-fri --time-zone Europe/Berlin",
  ])
    .requiredOption("-C, --connection <connection>", "how its source is reached: a name or an id")
    .requiredOption("--schema <schema>", "the schema to read: one of the connection's")
    .option("-n, --namespace <namespace>", "the namespace that it goes into", "default")
    .addOption(new Option("-s, --size <size>", "otherwise nano").choices(INSTANCE_SIZES))
    .addOption(new Option("--sync-mode <mode>", "otherwise the best that the source is ready for").choices(SYNC_MODES))
    .option("--sync-interval <seconds>", "the batch window of a stream, or the period of polling", positive)
    .option("--config <path>", "a reflexdb.yaml: which tables, columns and relations; otherwise all")
    .option("--log-level <level>", "debug, info, warn or error; otherwise info")
    .option("--safety-net <seconds>", "load everything anew so often although changes are followed", positive)
    .option("--binlog-server-id <id>", "of MySQL: unique among its replicas; otherwise drawn", positive)
    .option("-l, --label <key=value>", "a label (repeat for several)", collect)
    .option("--pause-at <HH:MM>", "pause each day at this time; needs --resume-at")
    .option("--resume-at <HH:MM>", "resume each day at this time")
    .option("--days <days>", "only on these, such as mon-fri or sat,sun")
    .option("--time-zone <zone>", "of these times, an IANA name; otherwise UTC")
    .option("--idle-pause <duration>", "pause when no query has come for so long")
    .option("--keep-source-awake", "a managed database is not stopped for being idle while this follows it")
    .action(inSession(around, create));
}

async function create(session: Session, options: Options, name: string): Promise<void> {
  const { namespace, schema, size } = options;
  const body = {
    name,
    namespace,
    connection_id: await connectionId(session.api, options.connection, namespace),
    schema,
    size,
    sync_mode: options.syncMode,
    sync_interval: options.syncInterval,
    config: options.config === undefined ? undefined : await fileText(options.config),
    log_level: options.logLevel,
    safety_net: options.safetyNet,
    binlog_server_id: options.binlogServerId,
    labels: options.label && keyValues(options.label, "--label"),
    pause_schedule: pauseSchedule(options),
    idle_pause: options.idlePause,
    keep_source_awake: options.keepSourceAwake,
  };
  const { text } = await session.api.post("/instances", { body });
  session.show(
    text,
    (view: InstanceView) =>
      `instance ${view.namespace}/${view.name} registered (${view.id}); \`lamplighter instance provision ${view.name}\` builds and runs it\n`,
  );
}
