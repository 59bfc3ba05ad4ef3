import type { WriterRefusal } from "../../contract/writer.ts";

/** Why there is no writer. `code` tells what may help. */
export class NotStarted extends Error {
  readonly code: WriterRefusal;

  constructor(code: WriterRefusal, message: string) {
    super(message);
    this.code = code;
  }
}
