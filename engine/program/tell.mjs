// `lamplighter-engine tell ORDERS`: hands them, as the text that they are, to the engine beside it, which looks at them. It runs for each key that is made,
// so that nothing is imported that is waited for, and it is no TypeScript: to load what strips types takes longer than all the rest.
import { request } from "node:http";

const socketPath = `orders-${process.env.LAMPLIGHTER_WORKLOAD_GENERATION}.sock`;
const sent = request({ socketPath, method: "POST", path: "/" }, ({ statusCode }) => {
  if (statusCode !== 204) console.error(`the engine's program answered ${statusCode}`);
  process.exit(statusCode === 204 ? 0 : 1);
});
// There is none yet: it hears them as the answer to its next report.
sent.once("error", ({ message }) => {
  console.error(message);
  process.exit(1);
});
sent.end(process.argv[2]);
