// A container engine behind a socket of one's own, which fails now and then as a real one may: everything else goes through to the real one.
import { connect, createServer, type Socket } from "node:net";

export type FaultyEngine = {
  socketPath: string;
  /** Creating a container with one of these in its name ends in an internal error of the engine. */
  fails: Set<string>;
  stop: () => Promise<void>;
};

export async function startFaultyEngine(socketPath: string, real: string): Promise<FaultyEngine> {
  const fails = new Set<string>();
  const open = new Set<Socket>();
  const server = createServer((client) => {
    const engine = connect(real);
    for (const socket of [client, engine]) {
      open.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        open.delete(socket);
        client.destroy();
        engine.destroy();
      });
    }
    engine.pipe(client);
    client.on("data", (chunk) => {
      const asked = /^POST \S*\/containers\/create\?name=(\S+)/.exec(chunk.toString("latin1"))?.[1] ?? "";
      if (![...fails].some((name) => asked.includes(name))) engine.write(chunk);
      else {
        engine.unpipe(client);
        const body = JSON.stringify({ message: "database is locked" });
        const head = `HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nContent-Length: ${body.length}`;
        client.end(`${head}\r\nConnection: close\r\n\r\n${body}`);
      }
    });
  });
  await new Promise<void>((done) => server.listen(socketPath, done));
  const stop = async () => {
    for (const socket of open) socket.destroy();
    await new Promise((done) => server.close(done));
  };
  return { socketPath, fails, stop };
}
