import { setTimeout as sleep } from "node:timers/promises";
import type { Setting } from "./figure.ts";
import { ObjectFiles, rowsWritten } from "./object-files.ts";

const RESTS_WITHIN_MS = 60_000;
const MANY = 50;
/** How often `look` is to be called, ms. */
export const LOOK_EVERY_MS = 250;

/** Sees what the objects of one class write and which of their alarms ring, by looking at their files. */
export class Watch {
  readonly className: string;
  fired = 0;
  readonly #files: ObjectFiles;
  #alarms = new Map<string, number>();
  #known = new Map<string, { stamp: string; rows: Set<string> }>();
  #written = 0;

  constructor(stateDir: string, className: string) {
    this.className = className;
    this.#files = new ObjectFiles(stateDir, className);
  }

  /** Until the objects were put out of memory and no alarm of theirs is near. */
  async untilRest(say: Setting["say"]): Promise<void> {
    for (const end = Date.now() + RESTS_WITHIN_MS; ; await sleep(500)) {
      const open = this.#files.objects().filter((object) => !this.#files.isClosed(object)).length;
      const alarms = this.#files.alarms().size;
      if (open === 0 && alarms === 0) return;
      if (Date.now() > end) return say(`not at rest: ${open} objects in memory, ${alarms} alarms waiting`);
    }
  }

  begin(): void {
    this.#alarms = this.#files.alarms();
    for (const object of this.#files.objects()) {
      this.#known.set(object, { stamp: this.#files.stamp(object), rows: this.#files.rows(object) });
    }
  }

  look(): void {
    const alarms = this.#files.alarms();
    const now = Date.now();
    for (const [object, at] of this.#alarms) if (at <= now && alarms.get(object) !== at) this.fired++;
    this.#alarms = alarms;
    // Rows of many objects are compared once, at the end: whatever changes them changes its file.
    if (this.#files.objects().length < MANY) this.#compare();
  }

  written(): number {
    this.#compare();
    return this.#written;
  }

  waiting(): number {
    return this.#alarms.size;
  }

  #compare(): void {
    for (const object of this.#files.objects()) {
      const known = this.#known.get(object) ?? { stamp: "", rows: new Set<string>() };
      const stamp = this.#files.stamp(object);
      if (stamp === known.stamp) continue;
      const rows = this.#files.rows(object);
      this.#written += rowsWritten(known.rows, rows);
      this.#known.set(object, { stamp, rows });
    }
  }
}
