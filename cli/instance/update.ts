import { type Command, Option } from "commander";
import type { InstanceView } from "../../contract/instance.ts";
import { SYNC_MODES } from "../../contract/source-kind.ts";
import { collect, inSession, positive, serverCommand } from "../command.ts";
import { fileText } from "../config/data.ts";
import { Failure } from "../failure.ts";
import { keyValues } from "../key-values.ts";
import { instanceId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { pauseSchedule } from "./pause-schedule.ts";

type Options = SessionOptions & {
  syncMode?: string;
  syncInterval?: number;
  logLevel?: string;
  config?: string | false;
  safetyNet?: number | false;
  binlogServerId?: number | false;
  label?: string[];
  pauseAt?: string;
  resumeAt?: string;
  days?: string;
  timeZone?: string;
  pauseSchedule?: false;
  idlePause?: string | false;
  keepSourceAwake?: boolean;
};

export function instanceUpdateCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "update <instance>", "change what is stored; `reconfigure` or `rebuild` then applies it", [
    "lamplighter instance update shop-read --sync-interval 5 && lamplighter instance reconfigure shop-read",
    "lamplighter instance update shop-read --config reflexdb.yaml && lamplighter instance rebuild shop-read",
    "lamplighter instance update shop-read --no-pause-schedule --idle-pause 30m",
  ])
    .addOption(new Option("--sync-mode <mode>", "how it keeps up with its source").choices(SYNC_MODES))
    .option("--sync-interval <seconds>", "the batch window of a stream, or the period of polling", positive)
    .option("--log-level <level>", "debug, info, warn or error")
    .option("--config <path>", "another reflexdb.yaml")
    .option("--no-config", "none any more: every table, column and relation")
    .option("--safety-net <seconds>", "load everything anew so often although changes are followed", positive)
    .option("--no-safety-net", "not any more")
    .option("--binlog-server-id <id>", "of MySQL: unique among its replicas", positive)
    .option("--no-binlog-server-id", "one is drawn")
    .option("-l, --label <key=value>", "all labels that it has from now on (repeat for several)", collect)
    .option("--pause-at <HH:MM>", "pause each day at this time; needs --resume-at")
    .option("--resume-at <HH:MM>", "resume each day at this time")
    .option("--days <days>", "only on these, such as mon-fri or sat,sun")
    .option("--time-zone <zone>", "of these times; otherwise UTC")
    .option("--no-pause-schedule", "no times any more")
    .option("--idle-pause <duration>", "pause when no query has come for so long")
    .option("--no-idle-pause", "not any more")
    .option("--keep-source-awake", "a managed database is not stopped for being idle while this follows it")
    .option("--no-keep-source-awake", "it sleeps when nobody else needs it")
    .action(inSession(around, update));
}

async function update(session: Session, options: Options, instance: string): Promise<void> {
  const schedule = pauseSchedule(options);
  const body = {
    sync_mode: options.syncMode,
    sync_interval: options.syncInterval,
    log_level: options.logLevel,
    keep_source_awake: options.keepSourceAwake,
    config: typeof options.config === "string" ? await fileText(options.config) : withdrawn(options.config),
    safety_net: withdrawn(options.safetyNet),
    binlog_server_id: withdrawn(options.binlogServerId),
    labels: options.label && keyValues(options.label, "--label"),
    pause_schedule: options.pauseSchedule === false ? null : schedule,
    idle_pause: options.idlePause === "" ? undefined : withdrawn(options.idlePause),
  };
  if (Object.values(body).every((value) => value === undefined)) throw new Failure("nothing is to be changed");
  const { text } = await session.api.patch(`/instances/${await instanceId(session.api, instance)}`, { body });
  session.show(text, ({ pending_changes }: InstanceView) => {
    if (pending_changes.length === 0) return `instance ${instance} updated\n`;
    const how = pending_changes.includes("config") ? "rebuild" : "reconfigure";
    return `instance ${instance} updated; \`lamplighter instance ${how} ${instance}\` applies ${pending_changes.join(", ")}\n`;
  });
}

/** As `--no-…` says it: there is to be none. */
const withdrawn = <T>(value: T | false | undefined): T | null | undefined => (value === false ? null : value);
