/** What stands for "no code was given" and the like; it is seen, and cannot be sent. */
const UNSENDABLE: ReadonlySet<number> = new Set([1005, 1006, 1015]);

/** Answers a close: one that is not answered keeps the other side, and the runtime's own shutdown, waiting. */
export const answerClose = (socket: WebSocket, code: number, reason: string): void =>
  socket.close(UNSENDABLE.has(code) ? 1000 : code, reason);
