import type { Socket } from "node:net";
import { Client } from "./client.ts";
import { countRefusal } from "./counters.ts";
import type { House } from "./house.ts";
import { refusal } from "./refusal.ts";

type DoorOptions = {
  /** Of clients at once. */
  connections: number;
  /** Of clients and backends together. */
  sockets: number;
  /** Not authenticated yet, of one address. */
  logins: number;
  house: House;
  clients: Set<Client>;
};

/** Lets connections in, as many as there may be. */
export class Door {
  closed = false;
  readonly #options: DoorOptions;
  readonly #sockets = new Set<Socket>();
  readonly #logins = new Map<string, number>();

  constructor(options: DoorOptions) {
    this.#options = options;
  }

  enter(socket: Socket): void {
    const { connections, sockets, logins, house, clients } = this.#options;
    const { counters } = house;
    socket.on("error", () => {});
    const address = socket.remoteAddress ?? "";
    const here = this.#logins.get(address) ?? 0;
    const present = this.#sockets.size;
    if (this.closed || present >= connections || present + counters.sessions >= sockets || here >= logins) {
      const why = refusal(this.closed ? "shutdown" : "too_many_clients");
      countRefusal(counters, why.report.code);
      // Whatever its first bytes say: an error is understood in their place.
      socket.end(why.packet, () => socket.destroy());
      return;
    }
    this.#sockets.add(socket);
    this.#logins.set(address, here + 1);
    counters.connections++;
    counters.connections_total++;
    const client = new Client(socket, house);
    clients.add(client);
    socket.once("close", () => {
      counters.connections--;
      this.#sockets.delete(socket);
      clients.delete(client);
    });
    void client.serve().then(() => {
      const left = (this.#logins.get(address) ?? 1) - 1;
      if (left === 0) this.#logins.delete(address);
      else this.#logins.set(address, left);
    });
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}
