import type { ConnectionView } from "../../contract/connection.ts";
import type { InstanceView } from "../../contract/instance.ts";
import type { KeyCreated } from "../../contract/instance-key.ts";
import { isStable } from "../../contract/instance-status.ts";
import { Failure } from "../failure.ts";
import { connect, type Made } from "./databases.ts";
import type { Scene } from "./scene.ts";
import type { Tell } from "./story.ts";

const QUERY = 'customers(orders.item = "lamp") { name orders(item = "lamp") { item } }';
const BEFORE = '[{"name":"Ada","orders":[{"item":"lamp"}]}]';
const AFTER = '[{"name":"Ada","orders":[{"item":"lamp"}]},{"name":"Barbara","orders":[{"item":"lamp"}]}]';

type Answer = { answer: string; status: number; retryAfter: string | null; ms: number };

export type Reader = {
  id: string;
  /** Asks it again, and expects what it last knew. */
  expectAnswer: () => Promise<void>;
  terminate: (tell: Tell) => Promise<void>;
};

/** A read engine compiled from a database's schema. Answers it running. */
export async function instance(scene: Scene, database: Made): Promise<Reader> {
  const { story, stage, show, within, signal } = scene;
  const send = async <T>(path: string, body?: unknown): Promise<T> =>
    JSON.parse((await stage.api.post(path, body === undefined ? {} : { body })).text) as T;
  const read = async (): Promise<InstanceView> => JSON.parse((await stage.api.get(`/instances/${id}`)).text);
  const act = (action: string) => send<InstanceView>(`/instances/${id}/${action}`);
  const rest = async (status: InstanceView["status"], tell: Tell): Promise<InstanceView> => {
    let last: InstanceView | null = null;
    const rested = await within(
      30_000,
      () => `expected ${status}, but it is ${last?.status}: ${last?.message}`,
      async () => {
        last = await read();
        tell(`${last.status}, ${last.message}`);
        return isStable(last.status) ? last : null;
      },
    );
    if (rested.status !== status || rested.last_error !== null)
      throw new Failure(`expected ${status}, got ${rested.status}: ${rested.last_error?.message ?? rested.message}`);
    return rested;
  };
  const ask = async (url: string | null): Promise<Answer> => {
    const at = performance.now();
    const response = await fetch(`${url}/query`, {
      method: "POST",
      body: QUERY,
      headers: { authorization: `Bearer ${key}` },
      signal: AbortSignal.any([signal, AbortSignal.timeout(5000)]),
    });
    const answer = (await response.text()).trim();
    const { status, headers } = response;
    return { answer, status, retryAfter: headers.get("retry-after"), ms: performance.now() - at };
  };
  const expectAnswer = async (url: string | null, expected: string): Promise<number> => {
    const { answer, ms } = await ask(url);
    if (answer !== expected) throw new Failure(`expected ${expected}, got ${answer}`);
    return ms;
  };

  let key = "";

  const id = await story.stepFor("An instance is registered: the database is its source", async () => {
    const source = { name: "shop", database_id: database.id, schemas: ["public"] };
    const connection = await send<ConnectionView>("/connections", source);
    const made = await send<InstanceView>("/instances", {
      name: "shop-read",
      connection_id: connection.id,
      schema: "public",
    });
    if (made.status !== "registered") throw new Failure(`expected it registered, got ${made.status}`);
    return { held: `${made.name} is ${made.status}: nothing is built, and nothing runs`, value: made.id };
  });

  const running = await story.stepFor(
    "It is provisioned: an engine is compiled from the schema, and loads",
    async (tell) => {
      await act("provision");
      const value = await rest("running", tell);
      const { latest_build: build, endpoint_url } = value;
      return { held: `${build?.tables} tables, compiled, loaded and verified; it answers at ${endpoint_url}`, value };
    },
  );

  await story.step("It is asked, with a filter over a relation", async () => {
    show(QUERY);
    ({ key } = await send<KeyCreated>(`/instances/${id}/keys`, { name: "demo" }));
    await within(
      5000,
      () => "the key is not known to the engine",
      async () => ((await ask(running.endpoint_url)).answer.startsWith("[") ? true : null),
    );
    const ms = await expectAnswer(running.endpoint_url, BEFORE);
    return `${BEFORE} in ${ms.toFixed(1)} ms`;
  });

  await story.step("A row is written to the database, and arrives in the engine", async () => {
    const client = await connect(database.dsn);
    await client.query(
      "INSERT INTO customers VALUES (4, 'Barbara', 'Boston'); INSERT INTO orders VALUES (4, 4, 'lamp')",
    );
    const at = performance.now();
    await client.end();
    let last = "";
    await within(
      20_000,
      () => `expected ${AFTER}, got ${last}`,
      async () => {
        last = (await ask(running.endpoint_url)).answer;
        return last === AFTER ? true : null;
      },
    );
    return `Barbara's lamp was there ${Math.round(performance.now() - at)} ms after its commit`;
  });

  await story.step("It is paused: nothing of it runs", async (tell) => {
    if (stage.programsOf(id).length === 0) throw new Failure("no engine ran before");
    await act("pause");
    const paused = await rest("paused", tell);
    const left = () => stage.programsOf(id).map(({ pid, command }) => `${pid} ${command}`);
    if (paused.endpoint_url !== running.endpoint_url)
      throw new Failure(`expected the address to stay ${running.endpoint_url}, got ${paused.endpoint_url}`);
    const { status, retryAfter } = await ask(paused.endpoint_url);
    if (status !== 503 || retryAfter === null) throw new Failure(`expected 503 and when to come again, got ${status}`);
    await within(
      2000,
      () => `its engine runs: ${left().join("; ")}`,
      async () => (left().length === 0 ? true : null),
    );
    return `its engine and its memory are gone; who asks is answered ${status}, and to come again in ${retryAfter} s`;
  });

  await story.step("It resumes; a pause is queued behind that, and cancelled", async (tell) => {
    await act("resume");
    const queued = await act("pause");
    if (queued.desired_state !== "paused") throw new Failure(`expected a queued pause, got ${queued.desired_state}`);
    const cancelled = await act("cancel-goal");
    if (cancelled.desired_state !== null) throw new Failure(`expected no goal, got ${cancelled.desired_state}`);
    const { endpoint_url } = await rest("running", tell);
    await within(
      5000,
      () => "the key is not known to the engine",
      async () => ((await ask(endpoint_url)).answer.startsWith("[") ? true : null),
    );
    const ms = await expectAnswer(endpoint_url, AFTER);
    return `queued while ${queued.status}, cancelled, and running again; the same answer in ${ms.toFixed(1)} ms`;
  });

  return {
    id,
    expectAnswer: async () => {
      await expectAnswer((await read()).endpoint_url, AFTER);
    },
    terminate: async (tell) => {
      await act("terminate");
      await rest("terminated", tell);
    },
  };
}
