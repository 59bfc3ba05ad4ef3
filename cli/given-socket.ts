/** In the environment of a program that is given a socket to listen on: its descriptor. It outlives the program, so that clients only wait while it is started again. */
export const LISTEN_FD = "LAMPLIGHTER_LISTEN_FD";

export function givenSocket(env: Record<string, string | undefined>): { fd?: number } {
  const fd = Number(env[LISTEN_FD]);
  return Number.isInteger(fd) && fd > 2 ? { fd } : {};
}
