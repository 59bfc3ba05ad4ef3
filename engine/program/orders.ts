import { rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { text } from "node:stream/consumers";
import { EngineOrders } from "../../contract/instance-report.ts";
import type { EngineChild } from "./child.ts";
import { type Given, ordersSocket } from "./environment.ts";
import { usableKeys } from "./settings.ts";

/** Makes an engine what it should be: one order after the other, and the newest only. */
export class Orders {
  readonly #engine: Pick<EngineChild, "ask">;
  readonly #keySecret: string;
  /** What was last done; what could not be done is done with the next. */
  #done: { keys: string; replication: EngineOrders["replication"]; reload: number; source: string };
  #wanted: EngineOrders;
  #isReady = false;
  #last: Promise<void> = Promise.resolve();

  /** @param orders with which it was started */
  constructor(engine: Pick<EngineChild, "ask">, keySecret: string, orders: EngineOrders) {
    this.#engine = engine;
    this.#keySecret = keySecret;
    this.#wanted = orders;
    this.#done = {
      keys: JSON.stringify(orders.keys),
      replication: "running",
      reload: orders.reload,
      source: locationOf(orders),
    };
  }

  get wanted(): EngineOrders {
    return this.#wanted;
  }

  /** It serves: from now on it can be told. */
  ready(): Promise<void> {
    this.#isReady = true;
    return this.obey(this.#wanted);
  }

  obey(orders: EngineOrders): Promise<void> {
    this.#wanted = orders;
    // Where its source is it has to know to become ready.
    const work = this.#isReady ? () => this.#do(this.#wanted) : () => this.#locate(this.#wanted);
    this.#last = this.#last.then(work).catch((error) => console.error(`not done: ${error}`));
    return this.#last;
  }

  async #locate(orders: EngineOrders): Promise<void> {
    const source = locationOf(orders);
    if (orders.source === undefined || source === this.#done.source) return;
    await this.#tell("PUT", "/source", { at: orders.source.at });
    this.#done.source = source;
  }

  async #do(orders: EngineOrders): Promise<void> {
    await this.#locate(orders);
    const { keys, replication, reload } = orders;
    const done = this.#done;
    const text = JSON.stringify(keys);
    if (text !== done.keys) {
      await this.#tell("PUT", "/keys", { secret: this.#keySecret, keys: usableKeys(keys) });
      done.keys = text;
    }
    if (replication !== done.replication) {
      await this.#tell("POST", replication === "paused" ? "/pause-replication" : "/resume-replication");
      done.replication = replication;
    }
    // What is paused is not read again either: once it goes on.
    if (reload > done.reload && replication === "running") {
      await this.#tell("POST", "/reload");
      done.reload = reload;
    }
  }

  async #tell(method: string, path: string, body?: unknown): Promise<void> {
    const { status, text } = await this.#engine.ask(method, path, body);
    if (status >= 300) throw new Error(`${method} ${path}: ${status} ${text.slice(0, 500)}`);
  }
}

/** Another term at the same address is another writer. */
const locationOf = ({ source }: EngineOrders): string => JSON.stringify([source?.term, source?.at]);

/** Takes orders from whoever may get to the working folder: `tell.mjs`, beside it. */
export async function listenForOrders(given: Given, take: (orders: EngineOrders) => Promise<void>): Promise<Server> {
  const path = ordersSocket(given);
  await rm(path, { force: true });
  const server = createServer(async (incoming, response) => {
    const orders = EngineOrders.safeParse(JSON.parse(await text(incoming).catch(() => "null")));
    if (orders.success) await take(orders.data);
    response.writeHead(orders.success ? 204 : 400).end();
  });
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(path, resolve));
  return server;
}
