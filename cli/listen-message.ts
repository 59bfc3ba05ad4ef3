import { closeSync, writeSync } from "node:fs";
import type { Readable } from "node:stream";

/** What a program that was started says on a descriptor of its starter's, one JSON object a line, once it listens. As workerd does it. */
export type ListenMessage = {
  event: "listen";
  port: number;
  /** SHA-256 of the certificate that it made for itself. */
  fingerprint?: string;
};

/** In the environment of such a program: the descriptor. */
export const CONTROL_FD = "LAMPLIGHTER_CONTROL_FD";

export function tellListening(env: Record<string, string | undefined>, message: Omit<ListenMessage, "event">): void {
  const fd = Number(env[CONTROL_FD]);
  if (!Number.isInteger(fd) || fd < 3) return;
  try {
    writeSync(fd, `${JSON.stringify({ event: "listen", ...message } satisfies ListenMessage)}\n`);
    closeSync(fd);
  } catch {
    // Whoever started it has gone.
  }
}

export function onListening(stream: Readable, done: (message: ListenMessage) => void): void {
  let held = "";
  stream.setEncoding("utf8");
  stream.on("error", () => {});
  stream.on("data", (text: string) => {
    held += text;
    for (let end = held.indexOf("\n"); end >= 0; end = held.indexOf("\n")) {
      const message = JSON.parse(held.slice(0, end)) as Partial<ListenMessage>;
      held = held.slice(end + 1);
      if (message.event === "listen" && message.port !== undefined) done(message as ListenMessage);
    }
  });
}
