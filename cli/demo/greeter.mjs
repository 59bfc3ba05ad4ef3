// The demo's worker: says over HTTP who it is, so that the demo can tell one instance of it from another.
import { createServer } from "node:http";

const { PORT, VERSION } = process.env;

createServer((_request, response) => {
  response.writeHead(200, { "content-type": "application/json", connection: "close" });
  response.end(JSON.stringify({ greeting: "The lamp is lit.", version: VERSION, pid: process.pid }));
}).listen(Number(PORT), "127.0.0.1", () => console.log(`version ${VERSION} listens on ${PORT}`));

// It goes on answering for a moment: somebody may still know its address.
process.on("SIGTERM", () => setTimeout(() => process.exit(0), 700));
