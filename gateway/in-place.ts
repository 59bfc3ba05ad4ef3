import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { TLSSocket } from "node:tls";

/** A session begins with this much per direction, and gets more while its chunks fill it. */
const BUFFER_LEAST = 4 * 1024;
const BUFFER_MOST = 64 * 1024;
/** After so many chunks in a row that would have fitted into the least it gets that again. */
const SMALL_MOST = 256;

type Handle = { reading: boolean; readStop(): number };
/** Not in Node's documentation; without it everything works, with more copying. */
type Moving = { _handle?: Handle | null };

/**
 * Shows what a stream reads to `take`, which has done with it when it returns. A plain TCP socket reads into one buffer over and over in place of a new
 * one for each chunk: that is a third of the work of passing small messages on (docs/decisions/0050). For that its connection moves to a new
 * socket, which is answered beside what the old one had read already; each of the two closes the other.
 * @param kept whether the last chunk is still needed, because it waits to be written; then the next one gets a new buffer
 */
export function readInPlace(
  stream: Duplex,
  take: (chunk: Buffer) => void,
  kept: () => boolean,
): { stream: Duplex; read: Buffer | null } {
  const handle = movable(stream);
  if (handle === null) {
    stream.on("data", take);
    return { stream, read: null };
  }
  const read = stream.read() as Buffer | null;
  handle.reading = false;
  handle.readStop();
  (stream as Moving)._handle = null;
  let buffer = Buffer.allocUnsafeSlow(BUFFER_LEAST);
  let chunk: Buffer = buffer;
  let filled = -1;
  let small = 0;
  const next = (): Buffer | false => {
    if (filled < 0) return buffer;
    small = filled <= BUFFER_LEAST ? small + 1 : 0;
    const { length } = buffer;
    let wanted = filled === length ? Math.min(BUFFER_MOST, length * 4) : length;
    if (small > SMALL_MOST) wanted = BUFFER_LEAST;
    if (wanted === length && !kept()) return false;
    buffer = Buffer.allocUnsafeSlow(wanted);
    return buffer;
  };
  const options: object = {
    handle,
    allowHalfOpen: true,
    manualStart: true,
    onread: {
      buffer: next,
      callback: (size: number, bytes: Buffer) => {
        filled = size;
        // The same question or answer is often as long as the one before.
        if (chunk.length !== size || chunk.buffer !== bytes.buffer) chunk = bytes.subarray(0, size);
        take(chunk);
        return true;
      },
    },
  };
  const moved = new Socket(options);
  stream.once("close", () => moved.destroy());
  moved.once("close", () => stream.destroy());
  return { stream: moved, read };
}

function movable(stream: Duplex): Handle | null {
  if (!(stream instanceof Socket) || stream instanceof TLSSocket) return null;
  if (stream.destroyed || stream.connecting || stream.writableLength > 0 || stream.writableEnded) return null;
  const handle = (stream as Moving)._handle;
  return typeof handle?.readStop === "function" && "useUserBuffer" in handle ? handle : null;
}
