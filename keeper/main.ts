import { createHash, randomBytes, timingSafeEqual, X509Certificate } from "node:crypto";
import { mkdir, readdir, readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { join, resolve } from "node:path";
import { KEEPER_DEFAULT_PORT, KeeperName } from "../contract/keeper.ts";
import { isLoopback } from "../postgres/loopback.ts";
import { selfSigned } from "../postgres/self-signed.ts";
import { adoptAll } from "./adoption.ts";
import { serve } from "./api.ts";
import { noCounts } from "./counters.ts";
import { replaceFile } from "./durable-file.ts";
import { Gate } from "./gate.ts";
import { holdFolder } from "./hold.ts";
import { DEFAULT_RETENTION, type RetentionPolicy } from "./retention.ts";
import { Roster } from "./roster.ts";
import { FolderStore } from "./store/folder.ts";
import type { ObjectStore } from "./store/object-store.ts";
import { type S3Options, S3Store } from "./store/s3.ts";
import type { Surroundings } from "./surroundings.ts";

export type KeeperOptions = {
  /** Everything that the keeper keeps on its own disk. One keeper per folder. */
  dataDir: string;
  /** Unlike that of any other keeper of the same databases. */
  name?: string | undefined;
  /** `fd`: a socket that listens there already. */
  listen?: { host: string; port: number; fd?: number | undefined } | undefined;
  /** What callers of the API show. Made and kept in the file `token` of the data folder when absent. */
  token?: string | undefined;
  /** A folder, or a bucket. `store` in the data folder when absent. */
  store?: string | S3Options | undefined;
  retention?: Partial<RetentionPolicy> | undefined;
  tailEveryMs?: number | undefined;
  /** PEM. Without it the API is plain HTTP on a loopback address; elsewhere it has a certificate of its own, known by its fingerprint. */
  tls?: { certificate: string; key: string } | undefined;
  /** HTTPS on a loopback address too: who has its fingerprint tells nobody else the token. */
  alwaysTls?: boolean | undefined;
  log?: ((line: string) => void) | undefined;
};

export type Keeper = {
  name: string;
  url: string;
  token: string;
  /** SHA-256 of the certificate that it made for itself. */
  fingerprint?: string;
  /** Where it ships to, for people. */
  store: string;
  /** Ends the keeper. Commits wait until it runs again. */
  close(): Promise<void>;
};

const TAIL_EVERY_MS = 60_000;
const BACKUPS_AT_ONCE = 2;
const SHIPMENTS_AT_ONCE = 4;

/** Starts the keeper of a data folder: takes up every log in it, follows the writers that it was following, and answers its API. */
export async function runKeeper(options: KeeperOptions): Promise<Keeper> {
  const dataDir = resolve(options.dataDir);
  const log = options.log ?? (() => {});
  await mkdir(join(dataDir, "databases"), { recursive: true, mode: 0o700 });
  const name = KeeperName.parse(options.name ?? "keeper");
  const hold = holdFolder(dataDir);
  try {
    const token = options.token ?? (await ownToken(dataDir));
    const around: Surroundings = {
      name,
      dataDir,
      store: storeOf(options.store ?? join(dataDir, "store"), dataDir),
      retention: { ...DEFAULT_RETENTION, ...options.retention },
      tailEveryMs: options.tailEveryMs ?? TAIL_EVERY_MS,
      backups: new Gate(BACKUPS_AT_ONCE),
      shipments: new Gate(SHIPMENTS_AT_ONCE),
      now: Date.now,
      startedAt: performance.now(),
      counters: noCounts(),
      log,
    };
    await adoptAll(around);
    const roster = await Roster.open(around, await readdir(join(dataDir, "databases")));
    const listener = (request: IncomingMessage, response: ServerResponse) => {
      serve(request, response, { roster, around, isCaller: (given) => isSame(given, token) }).catch((error: Error) => {
        log(`api: ${error.message}`);
        response.destroy();
      });
    };
    const address = options.listen ?? { host: "127.0.0.1", port: KEEPER_DEFAULT_PORT };
    const isPlain = isLoopback(address.host) && options.alwaysTls !== true;
    const own = options.tls === undefined && !isPlain ? await ownCertificate(dataDir, name) : null;
    const tls = options.tls ?? own;
    // A base backup takes as long as it takes.
    const server = tls
      ? createSecureServer({ cert: tls.certificate, key: tls.key, requestTimeout: 0 }, listener)
      : createServer({ requestTimeout: 0 }, listener);
    const scheme = tls ? "https" : "http";
    const url = await listen(server, scheme, address);
    return {
      name,
      url,
      token,
      ...(own === null ? {} : { fingerprint: own.fingerprint }),
      store: around.store.name,
      close: async () => {
        server.close();
        server.closeAllConnections();
        await roster.close();
        hold.release();
      },
    };
  } catch (error) {
    hold.release();
    throw error;
  }
}

function storeOf(store: string | S3Options, dataDir: string): ObjectStore {
  if (typeof store === "string") return new FolderStore(store, join(dataDir, "store-was-there"));
  return new S3Store(store);
}

async function ownToken(dataDir: string): Promise<string> {
  const path = join(dataDir, "token");
  const kept = await readFile(path, "utf8").catch(() => "");
  if (kept.trim() !== "") return kept.trim();
  const token = `lamp_keeper_${randomBytes(24).toString("hex")}`;
  await replaceFile(path, `${token}\n`);
  return token;
}

/** The certificate of a data folder: made once, so that what is said of it elsewhere stays right. */
async function ownCertificate(dataDir: string, name: string) {
  const path = join(dataDir, "certificate.pem");
  const kept = await readFile(path, "utf8").catch(() => "");
  const pem = kept === "" ? Object.values(selfSigned("lamplighter keeper", [name], Date.now())).join("") : kept;
  if (kept === "") await replaceFile(path, pem);
  return {
    certificate: pem,
    key: pem,
    fingerprint: createHash("sha256").update(new X509Certificate(pem).raw).digest("hex"),
  };
}

async function listen(
  server: Server,
  scheme: "http" | "https",
  { host, port, fd }: NonNullable<KeeperOptions["listen"]>,
): Promise<string> {
  await new Promise<void>((done, reject) => {
    server.once("error", (error) => reject(new Error(`The keeper cannot listen: ${error.message}`)));
    server.listen(fd === undefined ? { host, port } : { fd }, done);
  });
  const address = server.address();
  const bound = typeof address === "object" && address !== null ? address.port : port;
  return `${scheme}://${host.includes(":") ? `[${host}]` : host}:${bound}`;
}

function isSame(given: string, token: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(token)];
  return a.length === b.length && timingSafeEqual(a, b);
}
