// A network of its own, with one cable to this machine's that can be pulled; and a door in this machine's that can be shut without a word.
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { createServer, connect as dial, type Server, type Socket } from "node:net";

const ip = (...args: string[]) => execFileSync("ip", args, { stdio: ["ignore", "pipe", "pipe"] }).toString();

export class Network {
  /** How a program is run in there. */
  readonly run: readonly string[];
  /** This machine's address as seen from there, and the address in there. */
  readonly outside: string;
  readonly inside: string;
  readonly #name: string;
  readonly #cable: string;

  static make(): Network {
    return new Network(randomBytes(3).toString("hex"));
  }

  private constructor(mark: string) {
    this.#name = `lamplighter-${mark}`;
    this.#cable = `lamp${mark}`;
    const [third = 0, fourth = 0] = randomBytes(2);
    // The four addresses of a /30; that another network has the same ones at this moment is most unlikely.
    const address = (nth: number) => `10.213.${third}.${(fourth & 0xfc) + nth}`;
    this.outside = address(1);
    this.inside = address(2);
    this.run = ["ip", "netns", "exec", this.#name];
    const plug = `${this.#cable}p`;
    ip("netns", "add", this.#name);
    ip("link", "add", this.#cable, "type", "veth", "peer", "name", plug, "netns", this.#name);
    ip("address", "add", `${this.outside}/30`, "dev", this.#cable);
    ip("-n", this.#name, "address", "add", `${this.inside}/30`, "dev", plug);
    for (const link of ["lo", plug]) ip("-n", this.#name, "link", "set", link, "up");
    this.heal();
  }

  /** Nothing gets in or out, and nobody is told. */
  cut(): void {
    ip("link", "set", this.#cable, "down");
  }

  heal(): void {
    ip("link", "set", this.#cable, "up");
  }

  close(): void {
    ip("link", "delete", this.#cable);
    ip("netns", "delete", this.#name);
  }
}

/** Passes connections on to a port of this machine, and holds back what is said while it is shut. */
export class Door {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #isShut = false;

  static async open(address: string, port: () => number): Promise<Door> {
    const door = new Door(port);
    await new Promise<void>((done) => door.#server.listen({ host: address, port: 0 }, done));
    return door;
  }

  private constructor(port: () => number) {
    this.#server = createServer((from) => {
      const to = dial(port(), "127.0.0.1");
      for (const [one, other] of [
        [from, to],
        [to, from],
      ] as const) {
        this.#sockets.add(one);
        one.on("error", () => {});
        one.on("close", () => {
          this.#sockets.delete(one);
          if (!this.#isShut) other.destroy();
        });
        one.on("data", (chunk) => void other.write(chunk));
        if (this.#isShut) one.pause();
      }
    });
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  shut(): void {
    this.#isShut = true;
    for (const socket of this.#sockets) socket.pause();
  }

  /** What was said meanwhile is not passed on: whoever said it says it again. */
  reopen(): void {
    this.#isShut = false;
    for (const socket of this.#sockets) socket.destroy();
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}
