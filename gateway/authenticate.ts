import type { Duplex } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import ipaddr from "ipaddr.js";
import type { Lookup } from "../contract/gateway.ts";
import {
  AUTH,
  authentication,
  authenticationSasl,
  MessageReader,
  ProtocolViolation,
  TYPE,
} from "../postgres/wire/message.ts";
import { SASL_MOST, ScramError, ScramServer } from "../postgres/wire/scram.ts";
import { matchesServerName } from "./encryption.ts";
import type { House, Startup } from "./house.ts";
import { Gone, Inbox } from "./inbox.ts";
import { refusal, violation } from "./refusal.ts";
import { within } from "./within.ts";

/** PostgreSQL's names are no longer; a longer one names nothing. */
const NAME_MOST = 63;
/** A password message: the mechanism's name, lengths, and the SASL message. */
const MESSAGE_MOST = SASL_MOST + 256;

export type LoggedIn = {
  lookup: Lookup;
  database: NonNullable<Lookup["database"]>;
  /** Which verifier the password fits. */
  verifierId: string;
  clientKey: Buffer;
  inbox: Inbox<MessageReader>;
};

export type Authenticating = {
  startup: Startup;
  stream: Duplex;
  serverName: string | null;
  channelBinding: Buffer | null;
  early: Buffer;
  address: string;
  house: House;
  ending: AbortSignal;
};

/** Checks the password, and then whether this client may come in. Wakes nothing. */
export async function authenticate(login: Authenticating): Promise<LoggedIn> {
  const { startup, stream, house, ending, early } = login;
  const inbox = new Inbox(stream, new MessageReader(MESSAGE_MOST, early));
  stream.resume();
  const lookup = await within(look(startup, house), ending, inbox.gone);
  const scram = new ScramServer({
    salt: Buffer.from(lookup.salt, "base64"),
    iterations: lookup.iterations,
    keys: lookup.verifiers.map((verifier) => ({
      storedKey: Buffer.from(verifier.stored_key, "base64"),
      serverKey: Buffer.from(verifier.server_key, "base64"),
    })),
    channelBinding: login.channelBinding,
  });
  const response = async (): Promise<Buffer> => {
    const { type, body } = await within(inbox.until(take), ending, inbox.gone);
    if (type === TYPE.terminate) throw new Gone();
    if (type !== TYPE.password) throw violation("08P01", "expected a SASL response");
    return body;
  };
  try {
    stream.write(authenticationSasl(scram.mechanisms));
    let { mechanism, data } = initialResponse(await response());
    if (data === null) {
      stream.write(authentication(AUTH.saslContinue));
      data = (await response()).toString("latin1");
    }
    stream.write(authentication(AUTH.saslContinue, Buffer.from(scram.first(mechanism, data), "latin1")));
    const result = scram.final((await response()).toString("latin1"));
    if (!result.ok) {
      house.counters.logins_failed_total++;
      const wait = house.throttle.failed(login.address, startup.user);
      if (wait > 0) house.counters.logins_slowed_total++;
      if (wait > 0) await within(sleep(wait), ending, inbox.gone);
      throw refusal("wrong_password", { message: `password authentication failed for user "${startup.user}"` });
    }
    stream.write(
      Buffer.concat([
        authentication(AUTH.saslFinal, Buffer.from(result.serverFinal, "latin1")),
        authentication(AUTH.ok),
      ]),
    );
    const database = admit(login, lookup);
    const verifierId = lookup.verifiers[result.which]?.id ?? "";
    return { lookup, database, verifierId, clientKey: result.clientKey, inbox };
  } catch (error) {
    if (error instanceof ScramError) throw violation(error.code, error.message);
    throw error;
  }
}

function look({ user, database }: Startup, { lookups }: House): Promise<Lookup> {
  const fits = (name: string) => Buffer.byteLength(name) <= NAME_MOST;
  // Whatever is asked for such names, they do not exist.
  return fits(user) && fits(database) ? lookups.find(user, database) : lookups.find("\u{fffd}", "\u{fffd}");
}

/** What is wrong apart from the password; told only to those who know it. */
function admit({ startup, serverName, address, house }: Authenticating, { database }: Lookup) {
  if (database === null) throw refusal("no_database", { message: `database "${startup.database}" does not exist` });
  if (serverName !== null && database.server_names.length > 0 && !matchesServerName(serverName, database.server_names))
    throw refusal("server_name");
  if (database.allowed_addresses.length > 0 && !isAllowed(address, database.allowed_addresses))
    throw refusal("address");
  if (database.refused !== null) throw refusal("refused", { detail: database.refused });
  const lease = house.databases.lease(database.id);
  if (lease.sessions + lease.waiting >= database.clients_most) {
    throw refusal("too_many_clients", {
      detail: `The limit of this database is ${database.clients_most} clients per gateway.`,
    });
  }
  return database;
}

export function isAllowed(address: string, blocks: readonly string[]): boolean {
  if (!ipaddr.isValid(address)) return false;
  const client = ipaddr.process(address);
  return blocks.some((block) => {
    const range = ipaddr.isValidCIDR(block) ? ipaddr.parseCIDR(block) : null;
    return range !== null && range[0].kind() === client.kind() && client.match(range);
  });
}

function take(reader: MessageReader) {
  try {
    return reader.take();
  } catch (error) {
    if (error instanceof ProtocolViolation) throw violation("08P01", error.message);
    throw error;
  }
}

/** @returns `data` null: the client has left out its first message, which it may */
function initialResponse(body: Buffer): { mechanism: string; data: string | null } {
  const end = body.indexOf(0);
  if (end < 0 || body.length < end + 5) throw violation("08P01", "malformed SASL response");
  const mechanism = body.toString("latin1", 0, end);
  const length = body.readInt32BE(end + 1);
  const data = body.subarray(end + 5);
  if (length === -1 && data.length === 0) return { mechanism, data: null };
  if (length !== data.length) throw violation("08P01", "malformed SASL response");
  return { mechanism, data: data.toString("latin1") };
}
