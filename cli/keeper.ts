import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import type { Command } from "commander";
import { KEEPER_DEFAULT_PORT, KeeperName } from "../contract/keeper.ts";
import { parseDuration, parseMemory } from "../contract/quantity.ts";
import { withExamples } from "./command.ts";
import { Failure } from "./failure.ts";
import { givenSocket } from "./given-socket.ts";
import { listenAddress } from "./listen-address.ts";
import { tellListening } from "./listen-message.ts";
import type { Surroundings } from "./session.ts";
import { oneLine } from "./terminal.ts";

type Options = {
  data: string;
  name: string;
  listen: string;
  store?: string;
  s3Endpoint?: string;
  tlsCert?: string;
  tlsKey?: string;
  tls?: boolean;
  keepBases: string;
  keepFor: string;
  baseEvery: string;
  tailEvery: string;
};

export function keeperCommand(program: Command, around: Surroundings): void {
  withExamples(
    program.command("keeper").description("run a keeper, which makes the commits of databases outlive their host"),
    [
      "lamplighter keeper",
      "lamplighter keeper --name keeper_b --data /var/lib/keeper-b --listen 10.0.0.6:7431",
      "AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… lamplighter keeper --store s3://backups/lamps --s3-endpoint https://s3.eu-central-1.amazonaws.com",
    ],
  )
    .option("--data <folder>", "where the keeper keeps the log; one keeper per folder", defaultFolder(around))
    .option("--name <name>", "unlike that of any other keeper of the same databases; it never changes", "keeper")
    .option("--listen <host:port>", "where its API listens", `127.0.0.1:${KEEPER_DEFAULT_PORT}`)
    .option(
      "--store <place>",
      "a folder or s3://bucket/prefix for full segments and base backups; otherwise a folder in the data folder",
    )
    .option("--s3-endpoint <url>", "of the S3 service ($AWS_ENDPOINT_URL_S3, $AWS_ENDPOINT_URL)")
    .option(
      "--tls-cert <file>",
      "serve the API by HTTPS with this certificate, PEM; otherwise, unless only this machine is listened to, with one of its own",
    )
    .option("--tls-key <file>", "its key, PEM")
    .option("--tls", "serve the API by HTTPS, also where only this machine is listened to")
    .option("--keep-bases <n>", "keep at least so many base backups of a database", "2")
    .option("--keep-for <duration>", "restore to any moment of so long ago", "7d")
    .option("--base-every <size>", "take a base backup after so much log, or as much as the last one's size", "1Gi")
    .option("--tail-every <duration>", "how often the segment that is not full yet is shipped", "60s")
    .action((options: Options) => keeper(options, around));
}

async function keeper(options: Options, around: Surroundings): Promise<void> {
  const { terminal, interrupt, env } = around;
  if (!KeeperName.safeParse(options.name).success)
    throw new Failure(`--name '${options.name}': expected lower-case letters, digits and _, beginning with a letter`);
  const token = env.LAMPLIGHTER_KEEPER_TOKEN || undefined;
  const store = storeOf(options, env);
  const { runKeeper } = await import("../keeper/main.ts");
  const log = (line: string) => terminal.out(`${new Date(around.now()).toISOString()} ${oneLine(line)}\n`);
  const running = await runKeeper({
    dataDir: options.data,
    name: options.name,
    listen: { ...listenAddress(options.listen, "--listen", "0.0.0.0:7431"), ...givenSocket(env) },
    token,
    store,
    tls: tlsOf(options),
    alwaysTls: options.tls,
    retention: {
      bases: count("--keep-bases", options.keepBases),
      windowMs: duration("--keep-for", options.keepFor),
      baseEveryBytes: size("--base-every", options.baseEvery),
    },
    tailEveryMs: duration("--tail-every", options.tailEvery),
    log,
  }).catch((error: Error) => {
    throw new Failure(oneLine(error.message), { cause: error });
  });
  const { fingerprint } = running;
  tellListening(env, {
    port: Number(new URL(running.url).port),
    ...(fingerprint === undefined ? {} : { fingerprint }),
  });
  log(`the keeper ${running.name} answers at ${running.url}, and ships to ${running.store}`);
  if (token === undefined) log(`its token is in ${join(options.data, "token")}`);
  if (fingerprint !== undefined)
    log(`in KEEPERS: ${running.name}=${running.url.replace("://", "://:TOKEN@")}#${fingerprint}`);
  await new Promise<void>((done) => {
    if (interrupt.signal.aborted) done();
    interrupt.signal.addEventListener("abort", () => done());
  });
  interrupt.handled = true;
  await running.close();
  log("the keeper has stopped; commits of its databases wait until it runs again");
}

function storeOf({ store, s3Endpoint }: Options, env: Surroundings["env"]) {
  const place = /^s3:\/\/([^/]+)\/?(.*)$/.exec(store ?? "");
  if (place === null) return store;
  const endpoint = s3Endpoint ?? (env.AWS_ENDPOINT_URL_S3 || env.AWS_ENDPOINT_URL || undefined);
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey } = env;
  if (endpoint === undefined) throw new Failure("--store s3://…: say with --s3-endpoint which service that is");
  if (!accessKeyId || !secretAccessKey)
    throw new Failure("--store s3://…: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
  return {
    ...{ endpoint, bucket: place[1] as string, prefix: place[2], accessKeyId, secretAccessKey },
    ...{ sessionToken: env.AWS_SESSION_TOKEN || undefined, region: env.AWS_REGION || undefined },
  };
}

function tlsOf({ tlsCert, tlsKey }: Options) {
  if ((tlsCert === undefined) !== (tlsKey === undefined)) throw new Failure("--tls-cert and --tls-key go together");
  return tlsCert === undefined || tlsKey === undefined
    ? undefined
    : { certificate: fileOf("--tls-cert", tlsCert), key: fileOf("--tls-key", tlsKey) };
}

function fileOf(flag: string, path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new Failure(`${flag} '${path}': ${(error as Error).message}`);
  }
}

function count(flag: string, text: string): number {
  if (!/^[1-9]\d{0,3}$/.test(text)) throw new Failure(`${flag} '${text}': expected a whole number from 1`);
  return Number(text);
}

function duration(flag: string, text: string): number {
  const ms = parseDuration(text);
  if (ms === null) throw new Failure(`${flag} '${text}': expected a duration such as 60s or 7d`);
  return ms;
}

function size(flag: string, text: string): number {
  const bytes = parseMemory(text);
  if (bytes === null) throw new Failure(`${flag} '${text}': expected a size such as 512Mi or 1Gi`);
  return bytes;
}

function defaultFolder({ env }: Surroundings): string {
  if (process.getuid?.() === 0) return "/var/lib/lamplighter/keeper";
  return join(env.XDG_STATE_HOME || join(env.HOME || homedir(), ".local", "state"), "lamplighter", "keeper");
}
