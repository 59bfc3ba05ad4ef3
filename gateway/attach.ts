import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Lookup } from "../contract/gateway.ts";
import { crossBridge } from "../contract/scram.ts";
import { backendKeyData, message, noticeResponse, TYPE } from "../postgres/wire/message.ts";
import type { LoggedIn } from "./authenticate.ts";
import { type Backend, type BackendLogin, CredentialsRefused, logIn, Unreachable } from "./backend.ts";
import { cancelling } from "./cancel-hold.ts";
import { beginsWithOverride } from "./commit-override.ts";
import type { Grant, Guest } from "./guest.ts";
import type { House, Startup } from "./house.ts";
import { Gone } from "./inbox.ts";
import { refusal } from "./refusal.ts";
import { Session } from "./session.ts";
import { within } from "./within.ts";

const RETRY_LEAST_MS = 50;
const RETRY_MOST_MS = 2_000;

export type Attaching = {
  login: LoggedIn;
  startup: Startup;
  stream: Socket;
  guest: Guest;
  onProgress: (tell: ((message: string) => void) | null) => void;
  house: House;
  ending: AbortSignal;
};

/** Holds an authenticated client until its database is awake and a backend is its own, and joins the two. */
export async function attach(attaching: Attaching): Promise<Session> {
  const { login, stream, house, ending } = attaching;
  const { inbox } = login;
  const stop = new AbortController();
  const end = (why: unknown) => stop.abort(why);
  const endings = [ending, inbox.gone].map((signal) => {
    const abort = () => end(signal.reason);
    signal.addEventListener("abort", abort);
    if (signal.aborted) abort();
    return () => signal.removeEventListener("abort", abort);
  });
  const lease = house.databases.lease(login.database.id);
  const deadline = setTimeout(
    () => end(refusal("starting", lease.message === "" ? {} : { detail: lease.message })),
    house.holdMs,
  );
  const notices = new Notices(stream, house.noticeMs);
  attaching.onProgress((text) => notices.say(text));
  try {
    const reached = await reach(attaching, stop.signal);
    // The client left, or was told to, at the very end.
    if (stop.signal.aborted) {
      reached.backend.socket.destroy();
      reached.grant.leave();
      throw stop.signal.reason;
    }
    return join(attaching, reached);
  } catch (error) {
    if (error instanceof Gone || stop.signal.aborted) throw stop.signal.reason ?? error;
    throw error;
  } finally {
    clearTimeout(deadline);
    notices.end();
    attaching.onProgress(null);
    for (const off of endings) off();
  }
}

type Reached = { grant: Grant; backend: Backend; as: BackendLogin };

async function reach({ login, startup, guest, house }: Attaching, signal: AbortSignal): Promise<Reached> {
  let { lookup } = login;
  let refreshed = false;
  for (let wait = RETRY_LEAST_MS; ; ) {
    // Its database may have been put away and made anew between two tries; so it is asked for each time.
    const lease = house.databases.lease(login.database.id);
    const grant = await lease.enter(guest, signal);
    try {
      const names = namesOf(lookup, login, startup);
      const as = { endpoint: grant.endpoint, ...(await credentialsFor(login, lookup)), ...names };
      const backend = await logIn(as, signal);
      if (grant.current()) return { grant, backend, as };
      backend.socket.destroy();
      grant.leave();
    } catch (error) {
      // What was known last may be another database's PostgreSQL by now.
      const isElsewhere = error instanceof CredentialsRefused && grant.unconfirmed;
      if (error instanceof Unreachable || isElsewhere) lease.suspect(grant.term, error.message);
      grant.leave();
      if (error instanceof CredentialsRefused && !isElsewhere && !refreshed) {
        refreshed = true;
        lookup = await within(house.lookups.refresh(startup.user, startup.database), signal);
        continue;
      }
      if (error instanceof CredentialsRefused && !isElsewhere) {
        house.log(
          `PostgreSQL of ${login.database.id} does not know role ${JSON.stringify(startup.user)} by the verifier that is installed`,
        );
        throw refusal("credentials_differ");
      }
      if (!(error instanceof Unreachable) && !isElsewhere) throw error;
      // Only the control plane could have it started again.
      if (lease.isAway)
        throw refusal("no_control_plane", { detail: `PostgreSQL is not where it was last: ${error.message}` });
      await sleep(wait, undefined, { signal });
      wait = Math.min(RETRY_MOST_MS, wait * 1.6);
    }
  }
}

function namesOf(
  lookup: Lookup,
  { database }: LoggedIn,
  { settings }: Startup,
): Pick<BackendLogin, "role" | "database" | "settings"> {
  const { role, name } = lookup.database ?? database;
  return { role, database: name, settings: settings.filter(([key]) => key !== "replication") };
}

/** The keys of the verifier that PostgreSQL has: the client's own, or what its bridge leads to. */
async function credentialsFor(login: LoggedIn, lookup: Lookup): Promise<Pick<BackendLogin, "clientKey" | "serverKey">> {
  const installed = lookup.verifiers.find(({ id }) => id === lookup.database?.installed);
  const own = lookup.verifiers.find(({ id }) => id === login.verifierId);
  if (installed === undefined || own === undefined) throw new CredentialsRefused("no verifier is installed");
  const serverKey = Buffer.from(installed.server_key, "base64");
  if (installed.id === own.id) return { clientKey: login.clientKey, serverKey };
  if (own.bridge?.to !== installed.id)
    throw new CredentialsRefused("no bridge leads to the verifier that is installed");
  return { clientKey: Buffer.from(await crossBridge(own.bridge, login.clientKey)), serverKey };
}

function join(attaching: Attaching, { grant, backend, as }: Reached): Session {
  const { login, startup, stream, house } = attaching;
  const { counters, cancelKeys } = house;
  const { pid, key: ownKey } = backend;
  const cancel = cancelling({
    login: as,
    backend: { pid, key: ownKey },
    answered: () => session.answered,
    counters,
  });
  const key = cancelKeys.issue(startup.protocol, cancel);
  counters.sessions++;
  counters.sessions_total++;
  if (beginsWithOverride(startup.settings)) counters.commit_overrides_total++;
  if (grant.unconfirmed) counters.sessions_unconfirmed_total++;
  const session: Session = new Session({
    client: stream,
    backend: backend.socket,
    counters,
    cancel,
    log: (line) => house.log(`${login.database.id}: ${line}`),
    ended: () => {
      counters.sessions--;
      cancelKeys.withdraw(key);
      grant.leave();
    },
  });
  const early = login.inbox.release();
  stream.write(Buffer.concat([...backend.greeting, backendKeyData(key.pid, key.key), READY]));
  session.start({ client: early, backend: backend.rest });
  return session;
}

const READY = message(TYPE.readyForQuery, "I");

/** Tells a client that waits why it waits: after a while, and whenever that changes. */
class Notices {
  readonly #stream: Socket;
  readonly #timer: NodeJS.Timeout;
  #latest = "the database is starting";
  #said = "";

  constructor(stream: Socket, everyMs: number) {
    this.#stream = stream;
    this.#timer = setInterval(() => this.#tell(), everyMs);
  }

  say(text: string): void {
    this.#latest = text;
  }

  end(): void {
    clearInterval(this.#timer);
  }

  #tell(): void {
    if (this.#said === this.#latest) return;
    this.#said = this.#latest;
    this.#stream.write(noticeResponse({ severity: "NOTICE", code: "00000", message: this.#latest }));
  }
}
