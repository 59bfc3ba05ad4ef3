/** One line of the engine's answer to a pull. */
export type PullEvent = {
  id?: string;
  status?: string;
  progressDetail?: { current?: number; total?: number };
  error?: string;
  errorDetail?: { message?: string };
};

/** How far a pull is, summed over its layers. Downloading is what takes long; unpacking is not counted. */
export class PullProgress {
  readonly #layers = new Map<string, { current: number; total: number }>();
  error: string | null = null;

  take(event: PullEvent): void {
    const error = event.errorDetail?.message ?? event.error;
    if (error) this.error = error;
    if (event.id === undefined) return;
    const layer = this.#layers.get(event.id);
    const { current, total } = event.progressDetail ?? {};
    if (event.status === "Downloading" && total !== undefined && total > 0) {
      this.#layers.set(event.id, { current: Math.min(current ?? 0, total), total });
    } else if (layer && /^(Download complete|Verifying Checksum|Extracting|Pull complete)$/.test(event.status ?? "")) {
      layer.current = layer.total;
    }
  }

  /** 0 to 100; null while no size is known. */
  percent(): number | null {
    let current = 0;
    let total = 0;
    for (const layer of this.#layers.values()) {
      current += layer.current;
      total += layer.total;
    }
    return total === 0 ? null : Math.floor((current * 100) / total);
  }
}

/** Splits a stream of bytes into JSON values, one a line (Podman puts some on one line), whatever the chunks' borders. */
export class JsonLines<T> {
  #rest = Buffer.alloc(0);

  /** The raw text is given too, for numbers that do not fit a JavaScript number. */
  take(chunk: Buffer): { value: T; text: string }[] {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const end = bytes.lastIndexOf(10);
    this.#rest = Buffer.from(bytes.subarray(end + 1));
    if (end < 0) return this.#whole();
    const found: { value: T; text: string }[] = [];
    for (const text of bytes.subarray(0, end).toString("utf8").split("\n")) {
      const value = parse<T>(text);
      if (value !== null) found.push({ value, text });
    }
    return [...found, ...this.#whole()];
  }

  /** Engines end a value with a line break, some before the next one: a rest that is already a value is not waited on. */
  #whole(): { value: T; text: string }[] {
    if (this.#rest.at(-1) !== 125) return [];
    const text = this.#rest.toString("utf8");
    const value = parse<T>(text);
    if (value === null) return [];
    this.#rest = Buffer.alloc(0);
    return [{ value, text }];
  }
}

function parse<T>(text: string): T | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as T) : null;
  } catch {
    return null;
  }
}
