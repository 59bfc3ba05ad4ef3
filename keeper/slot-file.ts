import { type FileHandle, open } from "node:fs/promises";
import { crc32 } from "node:zlib";
import { replaceFile } from "./durable-file.ts";

// A small text that is written durably again and again, where somebody waits for each time. Replacing a file costs two commits of the file system's
// journal; here the text is written in place, in one of two slots in turn, and one sync of bytes that are allocated already makes it durable. A slot
// says which number it has and what its checksum is, so one that was torn by a power cut is found, and the other counts.

const MAGIC = 0x544f4c53;
const HEAD_BYTES = 28;
/** Of a slot. A text that does not fit gets a new file with slots that have room for it. */
const SLOT_LEAST = 16 * 1024;

type Slot = { number: number; text: string };

/** Null when there is no such file. Throws when none of its slots can be read. */
export async function readSlots(path: string): Promise<string | null> {
  const file = await opened(path);
  if (file === null) return null;
  try {
    const newest = (await slotsOf(file)).found;
    if (newest === null) throw new Error(`${path} is damaged`);
    return newest.text;
  } finally {
    await file.close();
  }
}

/** Durable once it has returned; until then either this text or the one before counts. One after the other. */
export async function writeSlots(path: string, text: string): Promise<void> {
  const file = await opened(path);
  if (file === null) return await replaceFile(path, fresh(text, 1));
  try {
    const { found, slotBytes } = await slotsOf(file);
    const number = (found?.number ?? 0) + 1;
    const slot = slotWith(number, text);
    if (slot.length > slotBytes) return await replaceFile(path, fresh(text, number));
    const at = (number % 2) * slotBytes;
    const { bytesWritten } = await file.write(slot, 0, slot.length, at);
    if (bytesWritten < slot.length) throw new Error(`${path} could be written in part only`);
    await file.datasync();
  } finally {
    await file.close();
  }
}

async function opened(path: string): Promise<FileHandle | null> {
  return await open(path, "r+").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return null;
    throw error;
  });
}

async function slotsOf(file: FileHandle): Promise<{ found: Slot | null; slotBytes: number }> {
  const bytes = await file.readFile();
  const slotBytes = Math.floor(bytes.length / 2);
  const slots = [0, 1].flatMap((which) => slotIn(bytes.subarray(which * slotBytes, (which + 1) * slotBytes)) ?? []);
  const found = slots.reduce((best: Slot | null, slot) => (best && best.number > slot.number ? best : slot), null);
  return { found, slotBytes };
}

function slotIn(bytes: Buffer): Slot | null {
  if (bytes.length < HEAD_BYTES || bytes.readUInt32LE(0) !== MAGIC) return null;
  const length = bytes.readUInt32LE(12);
  if (length > bytes.length - HEAD_BYTES) return null;
  const text = bytes.subarray(HEAD_BYTES, HEAD_BYTES + length);
  if (bytes.readUInt32LE(16) !== crc32(text) || bytes.readUInt32LE(20) !== crc32(bytes.subarray(0, 20))) return null;
  return { number: Number(bytes.readBigUInt64LE(4)), text: text.toString("utf8") };
}

function slotWith(number: number, text: string): Buffer {
  const body = Buffer.from(text, "utf8");
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUInt32LE(MAGIC, 0);
  head.writeBigUInt64LE(BigInt(number), 4);
  head.writeUInt32LE(body.length, 12);
  head.writeUInt32LE(crc32(body), 16);
  head.writeUInt32LE(crc32(head.subarray(0, 20)), 20);
  return Buffer.concat([head, body]);
}

/** A file whose slots have room for twice this text. Zeroes are written too: what is allocated needs no change of the file's metadata later. */
function fresh(text: string, number: number): Buffer {
  const slot = slotWith(number, text);
  const slotBytes = Math.max(SLOT_LEAST, 2 ** Math.ceil(Math.log2(slot.length * 2)));
  const file = Buffer.alloc(2 * slotBytes);
  slot.copy(file, (number % 2) * slotBytes);
  return file;
}
