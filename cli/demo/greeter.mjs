// The demo's worker: says over HTTP who it is, so that the demo can tell one instance of it from another.
import { createServer } from "node:http";

const { PORT, VERSION } = process.env;

createServer((_request, response) => {
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify({ greeting: "The lamp is lit.", version: VERSION, pid: process.pid }));
}).listen(Number(PORT), "127.0.0.1", () => console.log(`version ${VERSION} listens on ${PORT}`));

process.on("SIGTERM", () => process.exit(0));
