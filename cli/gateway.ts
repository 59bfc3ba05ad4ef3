import { homedir, hostname } from "node:os";
import { join } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import { collect, durationOption, positive, withExamples } from "./command.ts";
import { chooseTarget } from "./contexts.ts";
import { EXIT, Failure } from "./failure.ts";
import { givenSocket } from "./given-socket.ts";
import { keyValues } from "./key-values.ts";
import { listenAddress } from "./listen-address.ts";
import { tellListening } from "./listen-message.ts";
import type { Surroundings } from "./session.ts";
import { oneLine } from "./terminal.ts";

const TLS = ["require", "allow", "off"] as const;

type Options = {
  url?: string;
  token?: string;
  listen: string;
  tls: (typeof TLS)[number];
  certificate?: string;
  key?: string;
  data: string;
  name?: string;
  number?: number;
  peer?: string[];
  metrics?: string;
  clients?: number;
  hold: number;
  drain: number;
};

export function gatewayCommand(program: Command, around: Surroundings): void {
  withExamples(
    program
      .command("gateway")
      .description("run a gateway: one PostgreSQL address for all databases, which wakes them as clients come"),
    [
      "lamplighter gateway --url https://lamps.example.com --token lamp_…",
      "lamplighter gateway --certificate fullchain.pem --key privkey.pem --metrics 127.0.0.1:9187",
      "lamplighter gateway --listen 127.0.0.1:6432 --tls off",
      "lamplighter gateway --number 1 --peer 2=10.0.0.2:5432        one of two gateways behind one address",
    ],
  )
    .option("--url <url>", "the control plane's URL ($LAMPLIGHTER_URL, or the current context's)")
    .option(
      "--token <token>",
      "a token with the scope databases:connect ($LAMPLIGHTER_TOKEN, or the current context's)",
    )
    .option("--listen <host:port>", "where clients connect to", "0.0.0.0:5432")
    .addOption(
      new Option("--tls <mode>", "require: refuse who does not encrypt. allow: encrypt for who asks")
        .choices(TLS)
        .default("require"),
    )
    .option("--certificate <file>", "PEM, with its chain; otherwise a self-signed one is made in the data folder")
    .option("--key <file>", "PEM, the certificate's key; both are read again when they change")
    .option("--data <folder>", "where a certificate of its own is kept", defaultFolder(around))
    .option("--name <name>", "how the gateway is called; otherwise this machine's name")
    .option("--number <n>", "tells gateways behind one address apart, for cancel requests: 0 to 1023", gatewayNumber)
    .option("--peer <number=host:port>", "where another gateway is reached (repeat for several)", collect)
    .option("--metrics <host:port>", "serve /metrics and /health there, over HTTP")
    .option("--clients <n>", "connections at once", positive)
    .addOption(durationOption("--hold <duration>", "how long a client waits at most for its database to start", "60s"))
    .addOption(durationOption("--drain <duration>", "how long open transactions may take when it stops", "30s"))
    .action((options: Options) => gateway(options, around));
}

async function gateway(options: Options, around: Surroundings): Promise<void> {
  const { terminal, interrupt, env } = around;
  const { url, token } = chooseTarget({ url: options.url, token: options.token }, env);
  if (token === null)
    throw new Failure(`there is no token for ${url}`, {
      exit: EXIT.auth,
      hint: "Give --token or $LAMPLIGHTER_TOKEN, or log in with `lamplighter login`.",
    });
  if ((options.certificate === undefined) !== (options.key === undefined))
    throw new Failure("--certificate and --key go together");
  if (options.tls === "off" && options.certificate !== undefined)
    throw new Failure("--certificate has no use with --tls off");
  const { runGateway, TokenRefused } = await import("../gateway/main.ts");
  const log = (line: string) => terminal.out(`${new Date(around.now()).toISOString()} ${oneLine(line)}\n`);
  const running = await runGateway({
    listen: { ...listenAddress(options.listen, "--listen", "0.0.0.0:5432"), ...givenSocket(env) },
    directory: { url, token },
    certificate: options.tls === "off" ? null : await certificateOf(options),
    tlsRequired: options.tls === "require",
    name: options.name,
    number: options.number,
    peers: peersOf(options.peer ?? []),
    metrics: options.metrics === undefined ? undefined : listenAddress(options.metrics, "--metrics", "127.0.0.1:9187"),
    connectionsMost: options.clients,
    holdMs: options.hold,
    log,
  }).catch((error: Error) => {
    throw new Failure(oneLine(error.message), {
      cause: error,
      exit: error instanceof TokenRefused ? EXIT.auth : EXIT.other,
    });
  });
  tellListening(env, { port: running.port });
  const metrics = running.metricsPort === null ? "" : `, metrics on port ${running.metricsPort}`;
  log(`the gateway takes connections on port ${running.port}${metrics}`);
  if (!interrupt.signal.aborted)
    await new Promise<void>((done) => interrupt.signal.addEventListener("abort", () => done()));
  interrupt.handled = true;
  log("the gateway is closing: idle sessions end now, transactions when they are done");
  await running.close(options.drain);
  log("the gateway has stopped; databases that nobody uses go to sleep");
}

async function certificateOf({ certificate, key, data }: Options): Promise<{ certificate: string; key: string }> {
  if (certificate !== undefined && key !== undefined) return { certificate, key };
  const { selfSignedIn } = await import("../gateway/certificate.ts");
  return selfSignedIn(data, ["localhost", "127.0.0.1", hostname()]);
}

function peersOf(given: readonly string[]): Map<number, { host: string; port: number }> {
  const example = "2=10.0.0.2:5432";
  return new Map(
    Object.entries(keyValues(given, "--peer")).map(([number, address]) => {
      if (!isNumber(number))
        throw new Failure(`--peer '${number}=${address}': expected number=host:port, as ${example}`);
      return [Number(number), listenAddress(address, "--peer", example)];
    }),
  );
}

function gatewayNumber(text: string): number {
  if (!isNumber(text)) throw new InvalidArgumentError("expected a whole number from 0 to 1023");
  return Number(text);
}

const isNumber = (text: string): boolean => /^\d{1,4}$/.test(text) && Number(text) <= 1023;

function defaultFolder({ env }: Surroundings): string {
  if (process.getuid?.() === 0) return "/var/lib/lamplighter/gateway";
  return join(env.XDG_STATE_HOME || join(env.HOME || homedir(), ".local", "state"), "lamplighter", "gateway");
}
